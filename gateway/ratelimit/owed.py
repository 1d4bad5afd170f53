"""Places in flight on their way back to the store: with the next charge, soon, or when the store takes them again."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol

import structlog

from gateway.store import StoreAway
from gateway.value import value

_MOST = 10_000  # that wait; what is forgotten ends with its lease
_TOGETHER = 100  # in one round trip
_LINGER = 0.1  # seconds that one may wait for a charge to go with, where nobody is short of places
_AGAIN = 1.0  # seconds after which the store is asked again to take what it did not

_log = structlog.stdlib.get_logger("gateway.ratelimit")


class Taker(Protocol):
    """The store. A place that nobody gives back ends there after `lease` seconds."""

    @property
    def lease(self) -> float: ...

    def release(self, flight_key: str, leases: Sequence[str]) -> Awaitable[None]:
        """Asks at once, and may be awaited later; raises StoreAway, and soon."""


@value
class _Place:
    """`ends` is when the store has forgotten it by itself, on the loop's clock."""

    flight_key: str
    lease: str
    ends: float


class Owed:
    """`asked` says whether the store is asked at all; `start` runs what goes on behind the callers' backs.

    What the store does not take is set aside for a while, so it is in nobody's way: of a cluster, the part that holds
    this caller's places may be gone alone. That says nothing of the store as a whole, and the breaker is not told.
    """

    def __init__(
        self, store: Taker, *, asked: Callable[[], bool], start: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._store = store
        self._asked = asked
        self._start = start
        self._due: deque[_Place] = deque(maxlen=_MOST)
        self._aside: deque[_Place] = deque(maxlen=_MOST)
        self._settling = False
        self._refused = False
        self._soon: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None

    def add(self, flight_key: str, leases: Iterable[str], *, hurry: bool = True) -> None:
        """Goes back at once in a hurry, else with the next charge, whose round trip it shares, or soon."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._store.lease
        self._due.extend(_Place(flight_key, lease, ends) for lease in leases)
        if hurry:
            self.settle_soon()
        elif self._soon is None:
            self._soon = loop.call_later(_LINGER, self.settle_soon)

    def settle_soon(self) -> None:
        """Starts to give back what is due."""
        _stop(self._soon)
        self._soon = None
        if self._due and self._asked() and not self._settling:
            self._settling = True
            self._start(self._settle())

    def retry(self) -> None:
        """With what was set aside."""
        _stop(self._again)
        self._again = None
        self._due.extend(self._aside)
        self._aside.clear()
        self.settle_soon()

    def close(self) -> None:
        """What is still here ends with its lease."""
        _stop(self._soon)
        _stop(self._again)

    async def _settle(self) -> None:
        try:
            while self._due and self._asked():
                await self._give_back(self._next())
            self._refused = bool(self._aside)
        finally:
            self._settling = False

    def _next(self) -> Mapping[str, list[_Place]]:
        """By caller, those of the next hundred that the store still counts."""
        now = asyncio.get_running_loop().time()
        found: dict[str, list[_Place]] = defaultdict(list)
        for _ in range(min(len(self._due), _TOGETHER)):
            place = self._due.popleft()
            if place.ends > now:
                found[place.flight_key].append(place)
        return found

    async def _give_back(self, places: Mapping[str, list[_Place]]) -> None:
        asked = [
            self._taken(those, self._store.release(flight_key, [place.lease for place in those]))
            for flight_key, those in places.items()
        ]
        await asyncio.gather(*asked)

    async def _taken(self, places: list[_Place], answer: Awaitable[None]) -> None:
        try:
            await answer
        except StoreAway as error:
            self._set_aside(places, error)

    def _set_aside(self, places: list[_Place], error: StoreAway) -> None:
        self._aside.extend(places)
        if self._again is None:
            self._again = asyncio.get_running_loop().call_later(_AGAIN, self.retry)
        if not self._refused:
            self._refused = True
            _log.warning("places in flight cannot be given back for now", reason=str(error))


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
