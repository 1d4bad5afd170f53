"""How the server tells whoever works for a caller that the caller left: by a call, where ASGI wants a task that waits.

That task costs a request more than its authentication does.
"""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

_KEY = "gateway.departure"


class Departure:
    """Of one caller. `read_on` makes the server read, without which it does not notice."""

    __slots__ = ("_call", "_read_on", "left")

    def __init__(self, read_on: Callable[[], None]) -> None:
        self._read_on = read_on
        self._call: Callable[[], object] | None = None
        self.left = False

    def watch(self, call: Callable[[], object]) -> None:
        """Until `forget`, the caller's leaving is this call; soon, where that has been."""
        self._call = call
        self._read_on()
        if self.left:
            asyncio.get_running_loop().call_soon(self._tell)

    def forget(self) -> None:
        self._call = None

    def happen(self) -> None:
        """For the server: the connection is gone."""
        self.left = True
        self._tell()

    def _tell(self) -> None:
        if self._call is not None:
            self._call()


def expect_departure(scope: MutableMapping[str, Any], departure: Departure) -> None:
    scope["state"][_KEY] = departure


def departure_of(scope: Mapping[str, Any]) -> Departure:
    """That of the request's caller, as `Guard` tells it; under another server nobody is ever seen to leave."""
    found: Departure | None = scope.get("state", {}).get(_KEY)
    return found or Departure(lambda: None)
