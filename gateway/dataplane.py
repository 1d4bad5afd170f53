"""The whole path of a request between HTTP and Triton, top to bottom on one screen."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from gateway.admission import Admission, Permit
from gateway.auth import has_scope, may_use
from gateway.auth.scopes import PIN_VERSION
from gateway.calls import Answer, Call, Options, Request, Result, TensorAnswer, TensorCall, TensorStream
from gateway.canary import Ask, Choice, Mirror, Original, Probe, Versions
from gateway.canary.compare import Result as Compared
from gateway.canary.compare_tensors import TensorResult
from gateway.catalog import Card, Catalog, ModelCard, Task
from gateway.domain import (
    Array,
    Buffer,
    Content,
    Deadline,
    InferCall,
    ModelVersion,
    Parameter,
    Priority,
    RawTensor,
    Tensor,
    Variant,
    WantedOutput,
)
from gateway.errors import (
    DeadlineExceeded,
    GatewayError,
    InputError,
    OutOfService,
    Overloaded,
    UpstreamContractViolation,
    UpstreamError,
    ValidationFailed,
)
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.telemetry.timeline import Stage, Timeline
from gateway.translate.labels import class_ids
from gateway.translate.tensors import InferRequest
from gateway.translate.translator import Encoded, Translator

_PROBE_SECONDS = 5.0

_Outcome = TypeVar("_Outcome")
_Decode = Callable[[Sequence[Array], Sequence[Encoded], ModelCard, Options], Awaitable[list[Result]]]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds from a request's first byte to its answer: where neither caller nor model says, and at the very most."""

    usual: float
    highest: float
    clock: Callable[[], float]

    def usual_for(self, card: Card) -> float:
        """What requests to this model have that ask for nothing else."""
        return min(card.timeout or self.usual, self.highest)

    def of(self, started: float, asked: float | None, usual: float) -> Deadline:
        return Deadline(started + min(asked or usual, self.highest))

    def until(self, deadline: Deadline) -> "Until":
        """`async with deadlines.until(deadline):`; what it holds up raises DeadlineExceeded."""
        return Until(deadline.remaining(self.clock()))


class Until:
    """A block that has so many seconds. A class, and not a generator: every request enters one."""

    __slots__ = ("_timeout",)

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise DeadlineExceeded("The request ran out of time.") from None


@dataclass(frozen=True, slots=True)
class Lane:
    """What has a queue of its own in Triton. `capacity` are the images that it can put to use at once; `usual` are
    the seconds that its requests have."""

    model: str
    version: str
    capacity: int
    usual: float


class Router(Protocol):
    def choose(self, card: Card, ask: Ask) -> Choice: ...


class Answers(Protocol):
    """A call whose answers come one by one; `task` ends with it, whoever listens."""

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


class Outcomes(Protocol):
    """Hears how each attempt of a version ended, and after how many seconds of Triton's time."""

    def record(self, target: ModelVersion, error: Exception | None, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class _Job:
    """A call with all that was decided for it. `usual` are the seconds that requests to its model have by default."""

    card: Card
    choice: Choice
    target: ModelVersion
    priority: Priority
    deadline: Deadline
    usual: float
    request_id: str
    follow: Callable[["asyncio.Future[Any]"], None]
    timeline: Timeline

    @property
    def lane(self) -> Lane:
        return Lane(self.target.model, self.target.version, self.card.capacity, self.usual)


_Work = Callable[
    [_Job], Awaitable[tuple[_Outcome, float]]
]  # an answer, and the seconds of Triton's time in it


class DataPlane:
    """classify, detect and infer; every error that leaves is a GatewayError."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        router: Router,
        admission: Admission[Lane],
        upstream: Upstream,
        translator: Translator,
        outcomes: Outcomes,
        mirror: Mirror[Lane],
        deadlines: Deadlines,
    ) -> None:
        self._catalog = catalog
        self._router = router
        self._admission = admission
        self._upstream = upstream
        self._translator = translator
        self._outcomes = outcomes
        self._mirror = mirror
        self._deadlines = deadlines
        self._by_task: Mapping[Task, tuple[Any, _Decode[Any, Any]]] = {
            Task.IMAGE_CLASSIFICATION: (ClassifyOptions(), translator.classes),
            Task.TEXT_CLASSIFICATION: (ClassifyOptions(), translator.classes),
            Task.OBJECT_DETECTION: (DetectOptions(), translator.boxes),
        }

    async def classify(self, call: Call[ClassifyOptions]) -> Answer[ClassifyResult]:
        reads_text = any(isinstance(content, str) for content in call.inputs)
        task = Task.TEXT_CLASSIFICATION if reads_text else Task.IMAGE_CLASSIFICATION
        return await self._answer(task, call, self._translator.classes)

    async def detect(self, call: Call[DetectOptions]) -> Answer[DetectResult]:
        return await self._answer(Task.OBJECT_DETECTION, call, self._translator.boxes)

    async def infer(self, call: TensorCall) -> TensorAnswer:
        """Tensors as they are, to whatever model has them."""
        asked = call.asked
        job = self._admissible(self._assign(call, call.card, call.version))

        def work(chosen: _Job) -> Awaitable[tuple[list[RawTensor], float]]:
            return self._in_turn(chosen, self._exchange, asked.inputs, asked.outputs, asked.parameters)

        async def again(shadow: _Job) -> list[TensorResult]:
            try:
                return [TensorResult(tuple(await self._attempt(shadow, work)))]
            except ValidationFailed as refusal:
                self._outcomes.record(shadow.target, refusal, 0.0)  # the stable version took these tensors
                raise

        async with self._deadlines.until(job.deadline):
            job, outputs = await self._serve(job, work)
        if job.choice.mirror is not None and asked.comparable:
            pieces = [tensor.data for tensor in asked.inputs]
            self._offer(job, job.choice.mirror, [pieces], [TensorResult(tuple(outputs))], again)
        return TensorAnswer(job.target, job.choice.lives.get(job.target.version), outputs)

    async def stream(self, call: TensorCall) -> TensorStream:
        """Tensors to a model that answers any number of times; returns when the first answer is there.

        What fails before that is raised here, where a canary's failure still falls back.
        """
        job = self._admissible(self._assign(call, call.card, call.version))
        async with self._deadlines.until(job.deadline):
            job, answers = await self._serve(job, lambda chosen: self._begin(chosen, call.asked))
        life = job.choice.lives.get(job.target.version)
        return TensorStream(job.target, life, self._told(job.target, answers))

    async def _begin(self, job: _Job, asked: InferRequest) -> tuple[Answers, float]:
        """A call whose first answer is there, and the seconds until then, which are its latency."""
        with job.timeline.stage(Stage.QUEUE) as queueing:
            async with self._admission.slot(job.lane, job.priority, job.deadline) as permit:
                queueing.end()
                with job.timeline.call(job.target, streams=True) as lap:
                    call = self._infer_call(
                        job, asked.inputs, asked.outputs, asked.parameters, lap.traceparent
                    )
                    started = self._deadlines.clock()
                    seconds: list[float] = []
                    answers = self._upstream.stream(call)
                    permit.follow(answers.task, lambda: seconds[0] if seconds else None)
                    job.follow(answers.task)
                    try:
                        await answers.begin()
                    except BaseException:
                        self._leave(answers)
                        raise
                    seconds.append(self._deadlines.clock() - started)
                    return answers, seconds[0]

    async def _told(self, target: ModelVersion, answers: Answers) -> AsyncIterator[Sequence[RawTensor]]:
        """The answers; whoever judges versions hears of an end that is none."""
        try:
            async for outputs in answers:
                yield outputs
        except GatewayError as error:
            self._outcomes.record(target, error, 0.0)
            raise
        finally:
            self._leave(answers)

    def _leave(self, answers: Answers) -> None:
        """Ends the call where this Triton can bear that it is cancelled; else the rest of it is read and dropped."""
        answers.leave()
        if self._upstream.can_cancel:
            answers.task.cancel()

    async def _exchange(self, call: InferCall) -> list[RawTensor]:
        """What the model's declaration cannot say and Triton refuses all the same is the caller's to mend."""
        try:
            return await self._upstream.exchange(call)
        except UpstreamContractViolation as error:
            raise ValidationFailed.of(
                "/inputs", "The model refuses these tensors.", internal=error.internal
            ) from None

    async def probe(self, card: ModelCard, version: str, inputs: Sequence[Content]) -> Probe:
        """What exactly this version makes of some inputs; for those who judge it, and counted for nobody."""
        options, decode = self._by_task[card.task]
        job = self._trial(card, version)
        async with self._deadlines.until(job.deadline):
            items = await self._translator.encode(inputs, card)
            outputs, _ = await self._infer(job, card, _encoded(items))
            results = await decode(outputs, _encoded(items), card, options)
        return Probe(_in_order(items, results), outputs[0].shape[1:], str(outputs[0].dtype))

    async def try_out(self, card: Card, version: str, asked: InferRequest) -> None:
        """Whether exactly this version answers these tensors; for those who judge it, and counted for nobody.

        Raises GatewayError where it does not.
        """
        job = self._trial(card, version)
        async with self._deadlines.until(job.deadline):
            if card.served.decoupled:
                answers, _ = await self._begin(job, asked)
                self._leave(answers)
            else:
                await self._in_turn(
                    job, self._upstream.exchange, asked.inputs, asked.outputs, asked.parameters
                )

    def _trial(self, card: Card, version: str) -> _Job:
        target = ModelVersion(card.name, version, Variant.PINNED)
        return _Job(
            card=card,
            choice=Choice(target, {}),
            target=target,
            priority=Priority.STANDARD,
            deadline=Deadline(self._deadlines.clock() + _PROBE_SECONDS),
            usual=self._deadlines.usual_for(card),
            request_id="probe",
            follow=lambda _: None,
            timeline=Timeline(self._deadlines.clock),
        )

    async def _answer(
        self, task: Task, call: Call[Options], decode: _Decode[Options, Result]
    ) -> Answer[Result]:
        principal, options = call.principal, call.options
        card = self._catalog.find(task, options.model, lambda name: may_use(principal, name))
        class_ids(options.classes, card.labels)  # refuses a class that the model does not know
        job = self._admissible(self._assign(call, card, options.version))
        async with self._deadlines.until(job.deadline):
            with call.timeline.stage(Stage.DECODE):
                items = await self._translator.encode(call.inputs, card)
            encoded = _encoded(items)

            async def work(chosen: _Job) -> tuple[list[Result], float]:
                outputs, seconds = await self._infer(chosen, card, encoded)
                with chosen.timeline.stage(Stage.POST):
                    return await decode(outputs, encoded, card, options), seconds

            job, results = await self._serve(job, work)
        answered = _in_order(items, results)
        if job.choice.mirror is not None:
            asked = [_stored(content) for content in call.inputs]
            self._offer(job, job.choice.mirror, asked, answered, lambda shadow: self._attempt(shadow, work))
        return Answer(job.target, job.choice.lives.get(job.target.version), answered)

    def _offer(
        self,
        job: _Job,
        target: ModelVersion,
        inputs: Sequence[Sequence[Buffer] | InputError],
        results: Sequence[Compared | InputError],
        attempt: Callable[[_Job], Awaitable[Sequence[Compared]]],
    ) -> None:
        """The same call for the canary, of which the caller never hears."""
        versions = Versions(job.target.model, job.target.version, target.version)
        timeline = Timeline(self._deadlines.clock)  # of its own: nobody waits for it
        shadow = replace(
            job, target=target, priority=Priority.BATCH, follow=lambda _: None, timeline=timeline
        )
        self._mirror.offer(
            job.choice.share,
            [job.lane, shadow.lane],
            Original(versions, job.request_id, inputs, results),
            lambda deadline: attempt(replace(shadow, deadline=deadline)),
        )

    def _assign(self, call: Request, card: Card, version: str | None) -> _Job:
        """Version and deadline."""
        principal = call.principal
        may_pin = has_scope(principal, PIN_VERSION)
        choice = self._router.choose(card, Ask(principal, may_pin, version, call.preference, call.named))
        call.timeline.chosen(choice.target)
        usual = self._deadlines.usual_for(card)
        return _Job(
            card=card,
            choice=choice,
            target=choice.target,
            priority=call.priority,
            deadline=self._deadlines.of(call.started, call.timeout, usual),
            usual=usual,
            request_id=call.request_id,
            follow=call.follow,
            timeline=call.timeline,
        )

    def _admissible(self, job: _Job) -> _Job:
        """The job, on the stable version where the canary would refuse it.

        Raises what Triton's state or the wait for it would come to, before anything is decoded.
        """
        try:
            self._upstream.check(job.target)
            self._admission.check(job.lane, job.priority, job.deadline)
        except (OutOfService, Overloaded) as error:
            self._outcomes.record(job.target, error, 0.0)
            return self._admissible(_fall_back(job, error))
        return job

    async def _serve(self, job: _Job, work: _Work[_Outcome]) -> tuple[_Job, _Outcome]:
        """The answer, and the job as it was done: by the stable version where the canary failed."""
        try:
            return job, await self._attempt(job, work)
        except (UpstreamError, Overloaded) as error:
            return await self._serve(_fall_back(job, error), work)
        except ValidationFailed as refusal:
            served = await self._serve(_fall_back(job, refusal), work)
            # Tensors that the stable version takes: it was not the caller's fault.
            self._outcomes.record(job.target, refusal, 0.0)
            return served

    async def _attempt(self, job: _Job, work: _Work[_Outcome]) -> _Outcome:
        """One version's answer."""
        try:
            outcome, seconds = await work(job)
        except (UpstreamError, Overloaded) as error:
            self._outcomes.record(job.target, error, 0.0)
            raise
        self._outcomes.record(job.target, None, seconds)
        return outcome

    async def _infer(self, job: _Job, card: ModelCard, items: Sequence[Encoded]) -> tuple[list[Array], float]:
        """The inputs as one batch, or as several where the model takes fewer at once: `[inputs, …]` of each output.

        With it the seconds of the slowest batch.
        """
        size = card.batch_limit
        batches = [self._translator.stack(items[i : i + size], card) for i in range(0, len(items), size)]
        answers = await asyncio.gather(
            *(self._in_turn(job, self._upstream.infer, batch) for batch in batches)
        )
        outputs = [_joined([answer[output.name] for answer, _ in answers]) for output in card.outputs]
        return outputs, max(seconds for _, seconds in answers)

    async def _in_turn(
        self,
        job: _Job,
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
                    call = self._infer_call(job, inputs, outputs, parameters, lap.traceparent)
                    started = self._deadlines.clock()
                    return await self._followed(job, send(call), permit), self._deadlines.clock() - started

    def _infer_call(
        self,
        job: _Job,
        inputs: Sequence[Tensor | RawTensor],
        outputs: Sequence[WantedOutput] | None,
        parameters: Mapping[str, Parameter] | None,
        traceparent: str | None,
    ) -> InferCall:
        return InferCall(
            job.target,
            job.card.served,
            inputs,
            job.deadline,
            job.priority,
            job.request_id,
            usual=job.usual,
            typical=self._admission.typical(job.lane),
            outputs=outputs,
            parameters=parameters or {},
            traceparent=traceparent,
        )

    async def _followed(self, job: _Job, sent: Awaitable[_Outcome], permit: Permit) -> _Outcome:
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


def _fall_back(job: _Job, error: Exception) -> _Job:
    """The job on the stable version. Raises the error where the job is no canary's."""
    if job.choice.fallback is None or job.target == job.choice.fallback:
        raise error
    job.timeline.chosen(job.choice.fallback)
    return replace(job, target=job.choice.fallback)


def _joined(batches: Sequence[Array]) -> Array:
    return batches[0] if len(batches) == 1 else np.concatenate(batches)


def _stored(content: Content | InputError) -> Sequence[Buffer] | InputError:
    """What the report of a mirrored call keeps or hashes: the image, or the text in UTF-8."""
    if isinstance(content, InputError):
        return content
    return [content.encode() if isinstance(content, str) else content]


def _encoded(items: Sequence[Encoded | InputError]) -> list[Encoded]:
    return [item for item in items if isinstance(item, Encoded)]


def _in_order(items: Sequence[Encoded | InputError], results: Sequence[Result]) -> list[Result | InputError]:
    rest = iter(results)
    return [item if isinstance(item, InputError) else next(rest) for item in items]
