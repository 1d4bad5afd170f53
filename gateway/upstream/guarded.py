"""Calls to Triton behind a breaker and a budget for second tries: what the data plane calls."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from gateway.domain import Array, InferCall, ModelVersion, RawTensor, Variant
from gateway.errors import BackendDied, OutOfService, UpstreamError
from gateway.upstream.answers import Answers
from gateway.upstream.breaker import Attempt, Breaker, Breakers, judge
from gateway.upstream.retry import Failure, RetryBudget

_Answer = TypeVar("_Answer")
_Send = Callable[[InferCall], Awaitable[_Answer]]

_AMPLE = 0.5  # of the usual time: a call that had less and ran out of it says nothing about the model


class Endpoint(Protocol):
    """One Triton."""

    @property
    def endpoint(self) -> str: ...

    @property
    def can_cancel(self) -> bool: ...

    async def infer(self, call: InferCall) -> dict[str, Array]: ...

    async def exchange(self, call: InferCall) -> list[RawTensor]: ...

    def stream(self, call: InferCall) -> AsyncIterator[list[RawTensor]]: ...


class GuardedTriton:
    """One breaker a version; one budget for all of them. `retried` hears of each second try, `died` of each call that
    failed because the model's process is gone.
    """

    def __init__(
        self,
        triton: Endpoint,
        breakers: Breakers,
        budget: RetryBudget,
        *,
        clock: Callable[[], float],
        retried: Callable[[ModelVersion], None] = lambda _: None,
        died: Callable[[ModelVersion], None] = lambda _: None,
    ) -> None:
        self._triton = triton
        self._breakers = breakers
        self._budget = budget
        self._clock = clock
        self._retried = retried
        self._died = died

    @property
    def can_cancel(self) -> bool:
        """Whether a call may be cancelled without harm to the server."""
        return self._triton.can_cancel

    def check(self, target: ModelVersion) -> None:
        """Raises OutOfService where `infer` would do so now."""
        breaker = self._breaker(target)
        if not breaker.allows():
            raise _out_of_service(breaker)

    async def infer(self, call: InferCall) -> dict[str, Array]:
        """The outputs by name.

        Raises DeadlineExceeded or UpstreamError; a failure that a second call may mend was tried again.
        """
        return await self._tried(call, self._triton.infer)

    async def exchange(self, call: InferCall) -> list[RawTensor]:
        """The outputs as bytes; raises what `infer` does."""
        return await self._tried(call, self._triton.exchange)

    def stream(self, call: InferCall) -> Answers:
        """The answers of a call, which begins now; it is not tried again. Raises OutOfService."""
        breaker, attempt = self._admitted(call)
        ample = self._is_ample(call)
        answers = Answers(self._triton.stream(call), lambda: call.deadline.remaining(self._clock()))

        def ended(done: "asyncio.Future[None]") -> None:
            error = asyncio.CancelledError() if done.cancelled() else done.exception()
            self._record(call, breaker, attempt, error, ample=ample)

        answers.task.add_done_callback(ended)
        return answers

    async def _tried(self, call: InferCall, send: _Send[_Answer]) -> _Answer:
        with self._budget.request():
            try:
                return await self._attempt(call, send)
            except UpstreamError as error:
                pause = self._budget.backoff(self._failure(error, call))
                if pause is None:
                    raise
            with self._budget.retrying():
                await asyncio.sleep(pause)
                self._retried(call.target)
                return await self._attempt(call, send)

    async def _attempt(self, call: InferCall, send: _Send[_Answer]) -> _Answer:
        """One call, judged by its end."""
        breaker, attempt = self._admitted(call)
        ample = self._is_ample(call)
        failure: BaseException | None = None
        try:
            return await send(call)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._record(call, breaker, attempt, failure, ample=ample)

    def _admitted(self, call: InferCall) -> tuple[Breaker, Attempt]:
        """Raises OutOfService."""
        breaker = self._breaker(call.target)
        attempt = breaker.admit()
        if attempt is None:
            raise _out_of_service(breaker)
        return breaker, attempt

    def _is_ample(self, call: InferCall) -> bool:
        return call.deadline.remaining(self._clock()) >= _AMPLE * call.usual

    def _record(
        self, call: InferCall, breaker: Breaker, attempt: Attempt, error: BaseException | None, *, ample: bool
    ) -> None:
        """The end of a call, by this error or well."""
        judgement = judge(error, ample=ample)
        if isinstance(error, BackendDied):
            self._died(call.target)
        # A stable version has no other that could answer in its place, and nobody can for a pinned one.
        last = call.target.variant in (Variant.STABLE, Variant.PINNED)
        breaker.record(attempt, judgement, last=last)
        if call.target.variant is not Variant.SHADOW:
            self._budget.record(judgement.verdict)

    def _failure(self, error: UpstreamError, call: InferCall) -> Failure:
        remaining = call.deadline.remaining(self._clock())
        return Failure(
            judge(error).retry, attempts=1, elsewhere=False, remaining=remaining, typical=call.typical
        )

    def _breaker(self, target: ModelVersion) -> Breaker:
        return self._breakers.of(self._triton.endpoint, target)


def _out_of_service(breaker: Breaker) -> OutOfService:
    return OutOfService(
        "This version of the model has failed too often and is left alone for a moment.",
        retry_after=breaker.retry_after or 1.0,
    )
