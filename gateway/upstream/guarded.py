"""Calls to one of the Tritons, behind breakers and a budget for second tries: what the data plane calls."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.domain import Array, InferCall, ModelVersion, RawTensor, ServedModel, Variant, is_ample
from gateway.errors import BackendDied, UpstreamError
from gateway.upstream.answers import Answers
from gateway.upstream.balancer import Admitted, Balancer
from gateway.upstream.breaker import judge
from gateway.upstream.client import TritonClient
from gateway.upstream.retry import Failure, RetryBudget

_Answer = TypeVar("_Answer")
_Send = Callable[[TritonClient, InferCall], Awaitable[_Answer]]


class GuardedTriton:
    """One budget for all replicas. `retried` hears of each second try, `died` of each call that failed because a
    model's process is gone: of which model, and the endpoint of the replica.
    """

    def __init__(
        self,
        balancer: Balancer,
        budget: RetryBudget,
        *,
        clock: Callable[[], float],
        retried: Callable[[ModelVersion], None] = lambda _: None,
        died: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._balancer = balancer
        self._budget = budget
        self._clock = clock
        self._retried = retried
        self._died = died

    @property
    def can_cancel(self) -> bool:
        """Whether a call may be cancelled without harm to the server."""
        return self._balancer.can_cancel

    def check(self, target: ModelVersion) -> None:
        """Raises OutOfService where `infer` would do so now."""
        self._balancer.check(target)

    async def infer(self, call: InferCall) -> dict[str, Array]:
        """The outputs by name.

        Raises DeadlineExceeded or UpstreamError; a failure that a second call may mend was tried again.
        """
        return await self._tried(call, TritonClient.infer)

    async def exchange(self, call: InferCall) -> list[RawTensor]:
        """The outputs as bytes; raises what `infer` does."""
        return await self._tried(call, TritonClient.exchange)

    def stream(self, call: InferCall) -> Answers:
        """The answers of a call, which begins now; it is not tried again. Raises OutOfService."""
        admitted = self._balancer.admit(call.target)
        pieces = admitted.replica.triton.stream(call)
        answers = Answers(
            pieces,
            left=lambda: call.deadline.remaining(self._clock()),
            came=lambda: admitted.breaker.answered(admitted.attempt),
        )

        def ended(done: "asyncio.Future[None]") -> None:
            error = asyncio.CancelledError() if done.cancelled() else done.exception()
            self._record(call, admitted, error, seconds=answers.had)

        answers.task.add_done_callback(ended)
        return answers

    async def _tried(self, call: InferCall, send: _Send[_Answer]) -> _Answer:
        """The second try goes to another replica where there is one."""
        with self._budget.requests:
            admitted = self._balancer.admit(call.target)
            try:
                return await self._attempt(call, admitted, send)
            except UpstreamError as error:
                pause = self._budget.backoff(self._failure(error, call, admitted))
                if pause is None:
                    raise
            with self._budget.retries:
                await asyncio.sleep(pause)
                self._retried(call.target)
                again = self._balancer.admit(call.target, avoid=admitted.replica)
                return await self._attempt(call, again, send)

    async def _attempt(self, call: InferCall, admitted: Admitted, send: _Send[_Answer]) -> _Answer:
        """One call, judged by its end."""
        seconds = call.deadline.remaining(self._clock())
        try:
            answer = await send(admitted.replica.triton, call)
        except BaseException as error:
            self._record(call, admitted, error, seconds=seconds)
            raise
        self._record(call, admitted, None, seconds=seconds)
        return answer

    def _record(
        self, call: InferCall, admitted: Admitted, error: BaseException | None, *, seconds: float
    ) -> None:
        """The end of a call that had so many seconds, by this error or well. They are never ample for a mirrored call:
        it goes last, and callers would be turned away for it.
        """
        mirrored = call.target.variant is Variant.SHADOW
        judgement = judge(error, ample=not mirrored and is_ample(seconds, call.usual))
        if isinstance(error, BackendDied):
            self._died(_dead(error, call.model), admitted.replica.endpoint)
        self._balancer.record(admitted, call.target, error, judgement)
        if not mirrored:
            self._budget.record(judgement.verdict)

    def _failure(self, error: UpstreamError, call: InferCall, admitted: Admitted) -> Failure:
        return Failure(
            judge(error).retry,
            attempts=1,
            elsewhere=self._balancer.has_other(admitted.replica, call.target),
            remaining=call.deadline.remaining(self._clock()),
            typical=call.typical,
        )


def _dead(error: BackendDied, called: ServedModel) -> str:
    """The model whose process is gone: a step of the ensemble that was called, where the process's name says so.

    Triton numbers the groups of a model's instances, and the instances of a group, unless the group has a name.
    """
    named = (step for step in called.steps if re.fullmatch(rf"{re.escape(step)}_\d+_\d+", error.process))
    return next(named, called.name)
