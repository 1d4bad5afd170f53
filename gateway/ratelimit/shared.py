"""The shared limits as the path sees them: a verdict, or None while the store is away, and never an exception."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

import structlog

from gateway.ratelimit.breaker import Breaker, State
from gateway.ratelimit.gcra import Verdict
from gateway.ratelimit.owed import Owed, Taker
from gateway.ratelimit.plan import Plan
from gateway.store import StoreAway

_log = structlog.stdlib.get_logger("gateway.ratelimit")


class Store(Taker, Protocol):
    """Every method raises StoreAway, and soon."""

    async def charge(
        self, plan: Plan, cost: int, leases: Sequence[str] = (), unheard: Callable[[], None] = ...
    ) -> Verdict:
        """Calls `unheard` where nobody heard its verdict, given up or left by its caller: when it has ended behind."""

    async def probe(self, plan: Plan) -> None: ...

    async def drain(self) -> None:
        """Returns when all that goes on behind has ended."""


class SharedLimits:
    """The store behind its breaker. `on_state_change` hears each change, after it has been logged."""

    def __init__(self, store: Store, breaker: Breaker, on_state_change: Callable[[State], None]) -> None:
        self._store = store
        self._breaker = breaker
        self._on_state_change = on_state_change
        self._running: set[asyncio.Task[None]] = set()
        self._last: Plan | None = None
        self._owed = Owed(store, asked=lambda: breaker.closed, start=self.start)

    @property
    def state(self) -> State:
        return self._breaker.state

    @property
    def pause(self) -> float:
        """Seconds until the store is asked again."""
        return self._breaker.pause

    async def charge(self, plan: Plan, cost: int, leases: Sequence[str]) -> Verdict | None:
        """With a place in flight for each of `leases`. None where the store does not answer, or is not asked."""
        self._last = plan
        if not self._breaker.closed:
            self.look()
            return None
        self._owed.settle_soon()
        try:
            verdict = await self._store.charge(
                plan, cost, leases, lambda: self._owed.add(plan.flight_key, leases)
            )
        except StoreAway as error:
            self._failed(error)
            return None
        self._breaker.succeeded()
        return verdict

    def refund(self, plan: Plan, cost: int) -> None:
        """Gives back behind the caller's back; a store that is away is not told later."""
        if self._breaker.closed:
            self.start(self._refund(plan, cost))

    def release(self, flight_key: str, lease: str, *, hurry: bool = True) -> None:
        """Gives a place back behind the caller's back, or when the store is there again."""
        self._owed.add(flight_key, (lease,), hurry=hurry)

    def look(self) -> None:
        """Starts a probe where one is due."""
        if self._last is not None and self._breaker.probe_due():
            self.start(self._probe(self._last))

    async def _drain(self) -> None:
        """Returns when all that goes on behind is done, or has failed once more."""
        self._owed.retry()
        while self._running:
            await asyncio.wait(self._running)

    async def aclose(self) -> None:
        await self._drain()
        await self._store.drain()
        await self._drain()  # the places of what was given up
        self._owed.close()

    async def _refund(self, plan: Plan, cost: int) -> None:
        try:
            await self._store.charge(plan, -cost)
        except StoreAway as error:
            self._failed(error)

    async def _probe(self, plan: Plan) -> None:
        answered = False
        try:
            await self._store.probe(plan)
            answered = True
        except StoreAway:
            pass  # still away: said when it went
        finally:
            back = self._breaker.probed(answered)
        if back:
            _log.info("rate limits are shared again")
            self._on_state_change(self.state)
            self._owed.settle_soon()

    def _failed(self, error: StoreAway) -> None:
        if self._breaker.failed():
            _log.warning("rate limits are local: the store does not answer", reason=str(error))
            self._on_state_change(self.state)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on behind the callers' backs; `aclose` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
