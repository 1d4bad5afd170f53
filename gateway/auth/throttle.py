"""How often one peer may fail to authenticate before it is told to wait. In this process only, and bounded."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable


class FailureThrottle:
    """`limit` failures a `period` (seconds) and peer, counted from the first one. `clock` is monotonic.

    The peers that failed last are remembered, `peers` of them. IPv6 peers count by /64: a host has that many addresses.
    """

    def __init__(
        self, *, clock: Callable[[], float], limit: int = 20, period: float = 60.0, peers: int = 10_000
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._period = period
        self._peers = peers
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, peer: str) -> float:
        """Counts one failure. Answers 0, or in how many seconds the peer may fail again."""
        now = self._clock()
        name = _network(peer)
        began, count = self._windows.pop(name, (now, 0))
        if now - began >= self._period:
            began, count = now, 0
        self._windows[name] = (began, count + 1)
        if len(self._windows) > self._peers:
            self._windows.popitem(last=False)
        return 0.0 if count < self._limit else began + self._period - now


def _network(peer: str) -> str:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if address.version == 4:
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))
