"""classify, detect and infer, top to bottom: find the model, choose a version, decode, call, make an answer of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any

from gateway.admission import Admission
from gateway.auth import may_use
from gateway.calls import Answer, Call, Options, Result, TensorAnswer, TensorCall, TensorStream
from gateway.canary import Choice, Mirror, Probe
from gateway.canary.compare_tensors import TensorResult
from gateway.catalog import Card, Catalog, ModelCard, Task
from gateway.dataplane.attempts import Attempts, Outcomes, Router
from gateway.dataplane.deadlines import Deadlines
from gateway.dataplane.job import Job, Lane
from gateway.dataplane.turns import Answers, Turns, Upstream
from gateway.domain import (
    Array,
    Buffer,
    Content,
    Deadline,
    InferCall,
    ModelVersion,
    Priority,
    RawTensor,
    Variant,
    is_ample,
)
from gateway.errors import (
    DeadlineExceeded,
    InputError,
    UpstreamContractViolation,
    UpstreamError,
    ValidationFailed,
)
from gateway.pool import together
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.telemetry.timeline import Stage, Timeline
from gateway.translate.labels import class_ids
from gateway.translate.tensors import InferRequest
from gateway.translate.translator import Encoded, Translator

_PROBE_SECONDS = 5.0

_Decode = Callable[
    [Sequence[Array], Sequence[Encoded], ModelCard, Options], Coroutine[Any, Any, list[Result]]
]


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
        self._upstream = upstream
        self._translator = translator
        self._deadlines = deadlines
        self._turns = Turns(admission, upstream, deadlines)
        self._attempts = Attempts(router, outcomes, mirror, deadlines, self._turns.check)
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
        job = self._attempts.admissible(self._attempts.assign(call, call.card, call.version))

        def work(chosen: Job) -> Awaitable[tuple[list[RawTensor], float]]:
            return self._turns.take(chosen, self._exchange, asked.inputs, asked.outputs, asked.parameters)

        async def again(shadow: Job) -> list[TensorResult]:
            try:
                return [TensorResult(tuple(await self._attempts.attempt(shadow, work)))]
            except ValidationFailed as refusal:
                self._attempts.record(shadow, refusal)  # the stable version took these tensors
                raise

        async with self._deadlines.until(job.deadline):
            job, outputs = await self._attempts.serve(job, work)
        if job.choice.mirror is not None and asked.comparable:
            pieces = [tensor.data for tensor in asked.inputs]
            self._attempts.offer(job, job.choice.mirror, [pieces], [TensorResult(tuple(outputs))], again)
        return TensorAnswer(job.target, job.choice.lives.get(job.target.version), outputs)

    async def stream(self, call: TensorCall) -> TensorStream:
        """Tensors to a model that answers any number of times; returns when the first answer is there.

        What fails before that is raised here, where a canary's failure still falls back.
        """
        job = self._attempts.admissible(self._attempts.assign(call, call.card, call.version))

        async def begun(chosen: Job) -> tuple[tuple[Answers, float], None]:
            with _refusable():
                return await self._turns.begin(chosen, call.asked), None

        async with self._deadlines.until(job.deadline):
            job, (answers, seconds) = await self._attempts.serve(job, begun)
        life = job.choice.lives.get(job.target.version)
        return TensorStream(job.target, life, self._told(job, answers, seconds))

    async def _told(self, job: Job, answers: Answers, seconds: float) -> AsyncIterator[Sequence[RawTensor]]:
        """The answers, of which the first took so many seconds. Whoever judges versions hears of the end: it is a good
        one too where the time that the caller gave, or a caller who does not read, brought it about.
        """
        well = True
        try:
            async for outputs in answers:
                yield outputs
        except (UpstreamError, DeadlineExceeded) as error:
            well = isinstance(error, DeadlineExceeded) and not is_ample(answers.had, job.usual)
            if not well:
                self._attempts.record(job, error)
            raise
        finally:
            if well:
                self._attempts.record(job, None, seconds)
            self._turns.leave(answers)

    async def _exchange(self, call: InferCall) -> list[RawTensor]:
        with _refusable():
            return await self._upstream.exchange(call)

    async def probe(self, card: ModelCard, version: str, inputs: Sequence[Content]) -> Probe:
        """What exactly this version makes of some inputs; for those who judge it, and counted for nobody."""
        options, decode = self._by_task[card.task]
        job = self._trial(card, version)
        async with self._deadlines.until(job.deadline):
            items = await self._translator.encode(inputs, card)
            batches, _ = await self._infer(job, card, _encoded(items))
            results = await _decoded(batches, decode, _encoded(items), card, options)
        scores = batches[0][0]
        return Probe(_in_order(items, results), scores.shape[1:], str(scores.dtype))

    async def try_out(self, card: Card, version: str, asked: InferRequest) -> None:
        """Whether exactly this version answers these tensors; for those who judge it, and counted for nobody.

        Raises GatewayError where it does not.
        """
        job = self._trial(card, version)
        async with self._deadlines.until(job.deadline):
            if card.served.decoupled:
                answers, _ = await self._turns.begin(job, asked)
                self._turns.leave(answers)
            else:
                await self._turns.take(
                    job, self._upstream.exchange, asked.inputs, asked.outputs, asked.parameters
                )

    def _trial(self, card: Card, version: str) -> Job:
        target = ModelVersion(card.name, version, Variant.PINNED)
        return Job(
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
        job = self._attempts.admissible(self._attempts.assign(call, card, options.version))
        async with self._deadlines.until(job.deadline):
            with call.timeline.stage(Stage.DECODE):
                items = await self._translator.encode(call.inputs, card)
            encoded = _encoded(items)

            async def work(chosen: Job) -> tuple[list[Result], float]:
                batches, seconds = await self._infer(chosen, card, encoded)
                with chosen.timeline.stage(Stage.POST):
                    return await _decoded(batches, decode, encoded, card, options), seconds

            job, results = await self._attempts.serve(job, work)
        answered = _in_order(items, results)
        if job.choice.mirror is not None:
            asked = [_stored(content) for content in call.inputs]
            again = partial(self._attempts.attempt, work=work)
            self._attempts.offer(job, job.choice.mirror, asked, answered, again)
        return Answer(job.target, job.choice.lives.get(job.target.version), answered)

    async def _infer(
        self, job: Job, card: ModelCard, items: Sequence[Encoded]
    ) -> tuple[list[list[Array]], float]:
        """The inputs as one batch, or as several where the model takes fewer at once: `[inputs, …]` of each output.

        With them the seconds of the slowest batch. What a model tells of one batch may be of another length than what
        it tells of the next, such as the boxes that it found.
        """
        batches = [self._translator.stack(batch, card) for batch in _batches(items, card)]
        answers = await together([self._turns.take(job, self._upstream.infer, batch) for batch in batches])
        await self._catalog.confirm(card)
        outputs = [[answer[output.name] for output in card.outputs] for answer, _ in answers]
        return outputs, max(seconds for _, seconds in answers)


@contextmanager
def _refusable() -> Iterator[None]:
    """What the model's declaration cannot say and Triton refuses all the same is the caller's to mend."""
    try:
        yield
    except UpstreamContractViolation as error:
        told = (
            f"The model refuses these tensors: {error.said}"
            if error.said
            else "The model refuses these tensors."
        )
        raise ValidationFailed.of("/inputs", told, internal=error.internal) from None


def _batches(items: Sequence[Encoded], card: ModelCard) -> list[Sequence[Encoded]]:
    """As many at once as the model takes."""
    return [items[at : at + card.batch_limit] for at in range(0, len(items), card.batch_limit)]


async def _decoded(
    batches: Sequence[Sequence[Array]],
    decode: _Decode[Options, Result],
    items: Sequence[Encoded],
    card: ModelCard,
    options: Options,
) -> list[Result]:
    """The results of all batches, in the order of the inputs."""
    each = zip(batches, _batches(items, card), strict=True)
    parts = await together([decode(outputs, batch, card, options) for outputs, batch in each])
    return list(chain.from_iterable(parts))


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
