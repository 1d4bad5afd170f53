"""One call to Triton, when it is its turn, and followed to its end whoever still waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from gateway.admission import Admission, Permit
from gateway.dataplane.deadlines import Deadlines
from gateway.dataplane.job import Job, Lane
from gateway.domain import (
    Array,
    InferCall,
    ModelVersion,
    Parameter,
    RawTensor,
    Tensor,
    Variant,
    WantedOutput,
)
from gateway.telemetry.timeline import Stage
from gateway.translate.tensors import InferRequest

_Outcome = TypeVar("_Outcome")


class Answers(Protocol):
    """A call whose answers come one by one; `task` ends with it, whoever listens. `had` are the seconds that the model
    had for it, since it began or its caller last made it wait.
    """

    @property
    def had(self) -> float: ...

    @property
    def task(self) -> "asyncio.Future[None]": ...

    async def begin(self) -> None: ...

    def __aiter__(self) -> AsyncIterator[Sequence[RawTensor]]: ...

    def leave(self) -> None: ...


class Upstream(Protocol):
    @property
    def can_cancel(self) -> bool: ...

    def check(self, target: ModelVersion) -> None: ...

    async def infer(self, call: InferCall) -> dict[str, Array]: ...

    async def exchange(self, call: InferCall) -> list[RawTensor]: ...

    def stream(self, call: InferCall) -> Answers: ...


class Turns:
    """Calls in their turn. A call goes on where its caller leaves, unless this Triton can bear that it is cancelled."""

    def __init__(self, admission: Admission[Lane], upstream: Upstream, deadlines: Deadlines) -> None:
        self._admission = admission
        self._upstream = upstream
        self._deadlines = deadlines

    def check(self, job: Job) -> None:
        """Raises what Triton's state or the wait for it would come to now."""
        self._upstream.check(job.target)
        self._admission.check(job.lane, job.priority, job.deadline)

    async def take(
        self,
        job: Job,
        send: Callable[[InferCall], Awaitable[_Outcome]],
        inputs: Sequence[Tensor | RawTensor],
        outputs: Sequence[WantedOutput] | None = None,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> tuple[_Outcome, float]:
        """One call to Triton when it is this request's turn, and the seconds that it took."""
        waits = job.target.variant is not Variant.SHADOW
        with job.timeline.stage(Stage.QUEUE) as queueing:
            async with self._admission.slot(job.lane, job.priority, job.deadline, wait=waits) as permit:
                queueing.end()
                with job.timeline.call(job.target) as lap:
                    call = self._infer_call(job, inputs, outputs, parameters, lap.traceparent, permit.typical)
                    started = self._deadlines.clock()
                    return await self._followed(job, send(call), permit), self._deadlines.clock() - started

    async def begin(self, job: Job, asked: InferRequest) -> tuple[Answers, float]:
        """A call whose first answer is there, and the seconds until then, which are its latency."""
        with job.timeline.stage(Stage.QUEUE) as queueing:
            async with self._admission.slot(job.lane, job.priority, job.deadline) as permit:
                queueing.end()
                with job.timeline.call(job.target, streams=True) as lap:
                    call = self._infer_call(
                        job,
                        asked.inputs,
                        asked.outputs,
                        asked.parameters,
                        lap.traceparent,
                        permit.typical,
                    )
                    started = self._deadlines.clock()
                    seconds: list[float] = []
                    answers = self._upstream.stream(call)
                    permit.follow(answers.task, lambda: seconds[0] if seconds else None)
                    job.follow(answers.task)
                    try:
                        await answers.begin()
                    except BaseException:
                        self.leave(answers)
                        raise
                    seconds.append(self._deadlines.clock() - started)
                    return answers, seconds[0]

    def leave(self, answers: Answers) -> None:
        """Ends the call where this Triton can bear that it is cancelled; else the rest of it is read and dropped."""
        answers.leave()
        if self._upstream.can_cancel:
            answers.task.cancel()

    def _infer_call(
        self,
        job: Job,
        inputs: Sequence[Tensor | RawTensor],
        outputs: Sequence[WantedOutput] | None,
        parameters: Mapping[str, Parameter] | None,
        traceparent: str | None,
        typical: float,
    ) -> InferCall:
        return InferCall(
            job.target,
            job.card.served,
            inputs,
            job.deadline,
            job.priority,
            job.request_id,
            usual=job.usual,
            typical=typical,
            outputs=outputs,
            parameters=parameters or {},
            traceparent=traceparent,
        )

    async def _followed(self, job: Job, sent: Awaitable[_Outcome], permit: Permit) -> _Outcome:
        """The call is a task of its own, and the permit follows it: a client that leaves does not free a slot that the
        call still takes. The call itself goes on, unless this Triton can bear that it is cancelled.
        """
        running = asyncio.ensure_future(sent)
        permit.follow(running)
        job.follow(running)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if self._upstream.can_cancel:
                running.cancel()
            raise
        finally:
            del running  # the error that it carries holds this frame
