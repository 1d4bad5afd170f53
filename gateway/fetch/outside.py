"""How the internet is reached: names to addresses, and a connection to an address."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Thread
from typing import Any

import httpx

from gateway.fetch.addresses import Address

Resolve = Callable[[str], Awaitable[Sequence[Address]]]
"""All addresses of a name. Raises OSError where it has none, or nobody can say."""

_LOOKUPS = 8  # at once; each that hangs holds a thread until the system gives it up
_CONNECTIONS = 100


@dataclass(frozen=True)
class Outside:
    """`wire` makes the transport that connects to the address in a request's URL, for TLS to `sni_hostname`."""

    resolve: Resolve
    wire: Callable[[], httpx.AsyncBaseTransport]


def internet() -> Outside:
    return Outside(SystemResolver(), _direct)


def _direct() -> httpx.AsyncBaseTransport:
    """Without the environment's proxies and certificates, and without a connection that is used twice: it was made for
    one host, and the next request to this address may be for another.
    """
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(trust_env=False, limits=limits)


class SystemResolver:
    """Asks the system, on threads that nobody waits for: not the event loop, and not the end of the process."""

    def __init__(self, lookup: Callable[..., Sequence[Any]] = socket.getaddrinfo) -> None:
        self._lookup = lookup
        self._places = asyncio.Semaphore(_LOOKUPS)

    async def __call__(self, host: str) -> Sequence[Address]:
        """A caller that gives up leaves the look-up to its thread, which keeps its place until it ends."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        found: Future[Sequence[Address]] = Future()
        found.set_running_or_notify_cancel()
        found.add_done_callback(lambda _: _soon(loop, self._places.release))
        Thread(target=self._ask, args=(host, found), name="gateway-resolver", daemon=True).start()
        return await asyncio.wrap_future(found)

    def _ask(self, host: str, found: "Future[Sequence[Address]]") -> None:
        try:
            # The dot ends the name: no search domain of this machine is tried.
            rows = self._lookup(f"{host}.", 443, type=socket.SOCK_STREAM)
            addresses = [ip_address(place[0]) for *_, place in rows]
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            found.set_exception(error)
        else:
            found.set_result(addresses)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
