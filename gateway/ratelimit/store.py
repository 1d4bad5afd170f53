"""The shared limits in Redis: one script, one round trip, and never longer than the request may lose.

The user of the gateway needs no more than this for them (`>` sets its password):

    ACL SETUSER gateway on >… resetkeys ~{rl:* resetchannels -@all
        +evalsha +script|load +time +get +set +del +zadd +zcard +zrem +zremrangebyscore +pexpire
"""

import asyncio
import hashlib
import importlib.resources
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from gateway.ratelimit.gcra import NEVER, Rate, Verdict
from gateway.ratelimit.plan import Plan
from gateway.store import Client, Pipelined, StoreAway, translated

_T = TypeVar("_T")

TIMEOUT = 0.05  # seconds: the most that a request may lose to a store that does not answer
# Seconds for the client. Longer than a request waits: `RedisStore` bounds that itself, and lets what it gave up end
# behind.
CLIENT_TIMEOUT = 10 * TIMEOUT

_CONNECTIONS = (
    32  # pipelines at once, fewer than the client has; more wait for one of these, within the same timeout
)
# While the event loop was held up, the answer may have come, or the call may not even have been sent.
_GRACE = 0.005  # seconds for a round trip
_TURNS = 5  # of the loop, to read what is there; they cost nothing where nothing is
_LARGEST = 2**63  # more than any count, and any time
_PROBE = Rate(1000.0, 1000.0)
_SCRIPT = importlib.resources.files("gateway.ratelimit").joinpath("gcra.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


def _ignore() -> None:
    """For those who hold no place."""


class RedisStore:
    """Every method raises StoreAway at the latest after `timeout` seconds.

    A call that is given up, or whose caller leaves, goes on behind. `unheard` is called when such a charge has ended:
    before that its places cannot be given back, as it may take them still. `lease` is how long a place in flight lasts
    when nobody gives it back, in seconds: longer than any request.
    """

    def __init__(self, redis: Client, *, lease: float, timeout: float = TIMEOUT) -> None:
        self._redis = Pipelined(redis, script=_SCRIPT, most=_CONNECTIONS, patience=timeout)
        self.lease = lease
        self._timeout = timeout

    async def charge(
        self, plan: Plan, cost: int, leases: Sequence[str] = (), unheard: Callable[[], None] = _ignore
    ) -> Verdict:
        """All bounds of the plan; with `leases` places in flight as well, as the last of them."""
        keys = [bound.key for bound in plan.quotas]
        if leases:
            keys.append(plan.flight_key)
        daily = -1 if plan.day is None else plan.day.quota.limit
        places = plan.in_flight if leases else -1
        numbers = _numbers(cost, daily, places, [bound.rate for bound in plan.rates])
        answer = self._script(keys, " ".join(leases), numbers)
        try:
            return await self._bounded(answer, partial(_verdict, len(keys)))
        except BaseException:
            answer.add_done_callback(lambda _: unheard())
            raise

    def release(self, flight_key: str, leases: Sequence[str]) -> Awaitable[None]:
        """Gives places in flight back; more than once does no harm."""
        return self._bounded(self._redis.ask("ZREM", flight_key, *leases), _nothing)

    async def probe(self, plan: Plan) -> None:
        """Returns if a charge like this one would work: the script runs, and writes, in the same slot."""
        await self._bounded(
            self._script([plan.probe_key], "", _numbers(1, -1, -1, [_PROBE])), partial(_verdict, 1)
        )

    async def drain(self) -> None:
        """Returns when the calls that go on behind have ended."""
        await self._redis.drain()

    def _script(self, keys: list[str], leases: str, numbers: str) -> "asyncio.Future[Any]":
        return self._redis.ask("EVALSHA", _SHA, len(keys), *keys, leases, round(self.lease * 1000), numbers)

    async def _bounded(self, answer: "asyncio.Future[Any]", read: Callable[[Any], _T]) -> _T:
        try:
            await self._patience(answer)
        finally:
            answer.add_done_callback(_heard)
        if not answer.done():
            raise StoreAway(f"no answer within {self._timeout * 1000:.0f} ms")
        with translated():
            return read(answer.result())

    async def _patience(self, answer: "asyncio.Future[Any]") -> None:
        """Waits for the answer, but no longer than a request may lose."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.wait((answer,), timeout=self._timeout)
        if not answer.done() and loop.time() - started > self._timeout + _GRACE:
            await asyncio.wait((answer,), timeout=_GRACE)
        for _ in range(_TURNS):
            if answer.done():
                break
            await asyncio.sleep(0)


def _heard(answer: "asyncio.Future[Any]") -> None:
    """What nobody waits for any more need not be told, errors least."""
    answer.exception()


def _numbers(cost: int, daily: int, places: int, rates: Sequence[Rate]) -> str:
    flat = " ".join(f"{rate.interval!r} {rate.burst!r}" for rate in rates)
    return f"{cost} {daily} {places} {flat}"


def _nothing(answer: Any) -> None:
    """Of how many it was given back is not told on."""
    int(answer)


def _verdict(bounds: int, answer: Any) -> Verdict:
    """What the script says of so many bounds. Raises ValueError where that is not of the script's form."""
    _, allowed, wait, which, *levels = map(int, answer.split())
    remaining, resets = tuple(levels[::2]), tuple(levels[1::2])
    whole = len(levels) == 2 * bounds and all(0 <= level < _LARGEST for level in levels)
    possible = allowed == (wait == 0) == (which == 0) and NEVER <= wait < _LARGEST and 0 <= which <= bounds
    if not (whole and possible):
        raise ValueError(f"no verdict on {bounds} bounds: {answer!r:.200}")
    return Verdict(allowed == 1, wait, which - 1 if which else None, remaining, resets)
