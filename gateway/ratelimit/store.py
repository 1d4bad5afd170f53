"""The shared limits in Redis: one script, one round trip, and never longer than the request may lose.

The user of the gateway needs no more than this for them (`>` sets its password):

    ACL SETUSER gateway on >… resetkeys ~{rl:* resetchannels -@all
        +evalsha +script|load +time +get +set +del +zadd +zcard +zrem +zremrangebyscore +pexpire
"""

import asyncio
import hashlib
import importlib.resources
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from redis.exceptions import NoScriptError, RedisError

from gateway.ratelimit.gcra import Rate, Verdict
from gateway.ratelimit.plan import Plan
from gateway.store import StoreAway

_T = TypeVar("_T")

TIMEOUT = 0.05  # seconds: the most that a request may lose to a store that does not answer
# Seconds for the client. Longer than a request waits: `RedisStore` bounds that itself, and lets what it gave up end
# behind.
CLIENT_TIMEOUT = 10 * TIMEOUT

_CONNECTIONS = (
    32  # calls at once, fewer than the client has; more wait for one of these, within the same timeout
)
# While the event loop was held up, the answer may have come, or the call may not even have been sent.
_GRACE = 0.005  # seconds for a round trip
_TURNS = 5  # of the loop, to read what is there; they cost nothing where nothing is
_PROBE = Rate(1000.0, 1000.0)
# Redis refuses, it cannot be reached, or what it answers is no answer.
_FAILURES = (RedisError, OSError, ValueError, TypeError, AttributeError)
_SCRIPT = importlib.resources.files("gateway.ratelimit").joinpath("gcra.lua").read_text()
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Commands(Protocol):
    """What is needed of a Redis client, be it of one server or of a cluster."""

    async def execute_command(self, *args: Any, **options: Any) -> Any: ...


class RedisStore:
    """Every method raises StoreAway at the latest after `timeout` seconds.

    A call that is given up, or whose caller leaves, goes on behind: a connection is never left with an answer that
    nobody read. `lease` is how long a place in flight lasts when nobody gives it back, in seconds: longer than any
    request.
    """

    def __init__(self, redis: Commands, *, lease: float, timeout: float = TIMEOUT) -> None:
        self._redis = redis
        self._lease_ms = round(lease * 1000)
        self._timeout = timeout
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._running: set[asyncio.Task[Any]] = set()

    async def charge(self, plan: Plan, cost: int, lease: str | None = None) -> Verdict:
        """All bounds of the plan; with `lease` a place in flight as well, as the last of them."""
        keys = [bound.key for bound in plan.quotas]
        if lease is not None:
            keys.append(plan.flight_key)
        daily = -1 if plan.day is None else plan.day.quota.limit
        places = -1 if lease is None else plan.in_flight
        numbers = _numbers(cost, daily, places, [bound.rate for bound in plan.rates])
        return await self._bounded(self._script(keys, lease or "", numbers))

    async def release(self, flight_key: str, leases: Sequence[str]) -> None:
        """Gives places in flight back; more than once does no harm."""
        await self._bounded(self._command("ZREM", flight_key, *leases))

    async def probe(self, plan: Plan) -> None:
        """Returns if a charge like this one would work: the script runs, and writes, in the same slot."""
        await self._bounded(self._script([plan.probe_key], "", _numbers(1, -1, -1, [_PROBE])))

    async def aclose(self) -> None:
        """Waits for the calls that go on behind; the client stays open."""
        if self._running:
            await asyncio.wait(self._running)

    async def _bounded(self, call: Coroutine[Any, Any, _T]) -> _T:
        loop = asyncio.get_running_loop()
        started = loop.time()
        task = loop.create_task(call)
        self._running.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait((task,), timeout=self._timeout)
        if not task.done() and loop.time() - started > self._timeout + _GRACE:
            await asyncio.wait((task,), timeout=_GRACE)
        for _ in range(_TURNS):
            if task.done():
                break
            await asyncio.sleep(0)
        if not task.done():
            raise StoreAway(f"no answer within {self._timeout * 1000:.0f} ms")
        try:
            return task.result()
        except _FAILURES as error:
            raise StoreAway(f"{type(error).__name__}: {error}") from None

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as seen, also where nobody waits any more

    async def _script(self, keys: list[str], lease: str, numbers: str) -> Verdict:
        words = ("EVALSHA", _SHA, len(keys), *keys, lease, self._lease_ms, numbers)
        try:
            answer = await self._command(*words)
        except NoScriptError:  # a new or emptied server; nothing has run, so this is no second charge
            await self._command("SCRIPT LOAD", _SCRIPT)
            answer = await self._command(*words)
        return _verdict(answer)

    async def _command(self, *words: object) -> Any:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        async with self._slots:
            if loop.time() - asked > self._timeout:
                raise TimeoutError("no connection free in time")
            return await self._redis.execute_command(*words)


def _numbers(cost: int, daily: int, places: int, rates: Sequence[Rate]) -> str:
    flat = " ".join(f"{rate.interval!r} {rate.burst!r}" for rate in rates)
    return f"{cost} {daily} {places} {flat}"


def _verdict(answer: Any) -> Verdict:
    _, allowed, wait, which, *levels = map(int, answer.split())
    return Verdict(allowed == 1, wait, which - 1 if which else None, tuple(levels[::2]), tuple(levels[1::2]))
