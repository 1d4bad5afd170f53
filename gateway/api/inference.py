"""/v1/classify and /v1/detect: a request in any of the three body forms to a call, an answer to JSON."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from litestar import Response, Router

from gateway.api.access import Access
from gateway.api.asking import named_in, pinned_by, preference_of, timeout_of, urgency_in, version_headers
from gateway.api.body import BodyReader, while_connected
from gateway.api.context import Connection, Context, HttpRequest, context_of
from gateway.api.documentation import failures, operation_id
from gateway.api.handlers import Encoded, inference
from gateway.api.header_fields import CALL, SERVED
from gateway.api.image_urls import Fetching
from gateway.api.operations import ClassifyOperation, DetectOperation
from gateway.api.parsing import as_written, media_type, parse
from gateway.api.problems import input_problem
from gateway.calls import Answer, Call
from gateway.canary.callers import Callers
from gateway.dataplane import DataPlane
from gateway.domain import Content, ModelVersion, Priority
from gateway.errors import InputError, ValidationFailed
from gateway.priority import PriorityPolicy
from gateway.ratelimit import cost
from gateway.schemas import (
    ClassifyOptions,
    ClassifyResponse,
    ClassifyResult,
    DetectOptions,
    DetectResponse,
    DetectResult,
    FailedResult,
    PriorityName,
    Served,
)
from gateway.translate.inspection import megapixels
from gateway.translate.text import estimated_tokens

_Options = TypeVar("_Options", ClassifyOptions, DetectOptions)
_Result = TypeVar("_Result", ClassifyResult, DetectResult)
_Content = TypeVar("_Content", ClassifyResponse, DetectResponse)


class Intake:
    """Turns a request into a call: reads the body, parses it, starts the clock at the first byte."""

    def __init__(
        self,
        bodies: BodyReader,
        priorities: PriorityPolicy,
        access: Access,
        callers: Callers,
        fetching: Fetching,
        *,
        max_inputs: int,
        max_pixels: int,
    ) -> None:
        self._bodies = bodies
        self._priorities = priorities
        self._access = access
        self._callers = callers
        self._fetching = fetching
        self._max_inputs = max_inputs
        self._max_pixels = max_pixels

    async def serve(
        self,
        request: HttpRequest,
        options: type[_Options],
        work: Callable[[Call[_Options]], Awaitable[Answer[_Result]]],
    ) -> Answer[_Result]:
        """Runs `work` on the request's call, and holds the memory of the body, and of what was fetched, as long.

        Raises GatewayError.
        """
        context = context_of(request)
        timeout = timeout_of(request)
        pinned = pinned_by(request)
        context.priority = self._priority(request, context)
        content_type = request.headers.get("content-type")
        media_type(content_type)  # refuses what will not be read before reading it
        async with self._bodies.read(request) as body:
            inputs, asked = parse(
                body, content_type, request.scope["query_string"], options, self._max_inputs
            )
            context.payload = len(body)
            async with self._fetching.contents(request, context, inputs, timeout) as (contents, paid):
                call = await self.call(
                    request, context, contents, asked, within=timeout, pinned=pinned, paid=paid
                )
                try:
                    answer = await while_connected(request, work(call))
                except ValidationFailed as error:
                    raise as_written(error, content_type, options) from None
        self.note(answer, context)
        return answer

    async def call(
        self,
        connection: Connection,
        context: Context,
        inputs: Sequence[Content | InputError],
        asked: _Options,
        *,
        within: float | None,
        pinned: str | None,
        paid: int = 1,
    ) -> Call[_Options]:
        """What these inputs ask of the data plane, charged for what they cost beyond the units `paid`; `within` is in
        seconds.

        Raises ValidationFailed, RateLimited.
        """
        context.images = [len(image) for image in inputs if isinstance(image, bytes)]
        asked = _with_version(asked, pinned)
        context.priority = self._priority(connection, context, asked.priority)
        await self._access.charge_more(context, _cost(inputs, self._max_pixels) - paid)
        return Call(
            inputs=inputs,
            options=asked,
            principal=context.caller,
            priority=context.priority,
            started=context.started,
            timeout=within,
            request_id=context.request_id,
            preference=preference_of(connection),
            named=lambda source, name: named_in(connection, source, name),
            follow=context.calls.append,
            timeline=context.timeline,
        )

    def note(self, answer: Answer[_Result], context: Context) -> None:
        """Remembers who still calls a version that is to go."""
        if answer.life is not None:
            self._callers.note(answer.target, context.caller)

    def _priority(
        self, connection: Connection, context: Context, asked: PriorityName | None = None
    ) -> Priority:
        wanted = None if asked is None else Priority[asked.upper()]
        return self._priorities.assign(
            self._access.tier_of(context.caller),
            context.caller.priority_ceiling,
            urgency_in(connection),
            wanted,
        )


def inference_routes(dataplane: DataPlane, intake: Intake) -> Router:
    """The handlers, bound to their collaborators."""

    @inference(
        ["/v1/classify", "/classify"],
        status_code=200,
        opt={"reads": CALL, "tells": SERVED},
        operation_class=ClassifyOperation,
        operation_id=operation_id,
        summary="Classify images or texts",
        responses=failures(404, 408, 413, 415, 422, 502, 504),
        tags=["inference"],
    )
    async def classify(request: HttpRequest) -> Response[ClassifyResponse]:
        answer = await intake.serve(request, ClassifyOptions, dataplane.classify)
        content = ClassifyResponse(
            id=context_of(request).request_id,
            model=served_by(answer.target),
            results=_results(answer.results),
        )
        return _encoded(content, version_headers(answer.target, answer.life))

    @inference(
        ["/v1/detect", "/detect"],
        status_code=200,
        opt={"reads": CALL, "tells": SERVED},
        operation_class=DetectOperation,
        operation_id=operation_id,
        summary="Find objects in images",
        responses=failures(404, 408, 413, 415, 422, 502, 504),
        tags=["inference"],
    )
    async def detect(request: HttpRequest) -> Response[DetectResponse]:
        answer = await intake.serve(request, DetectOptions, dataplane.detect)
        content = DetectResponse(
            id=context_of(request).request_id,
            model=served_by(answer.target),
            results=_results(answer.results),
        )
        return _encoded(content, version_headers(answer.target, answer.life))

    return Router("/", route_handlers=[classify, detect])


def _encoded(content: _Content, headers: Mapping[str, str]) -> Response[_Content]:
    return Encoded(content.model_dump_json().encode(), headers, "application/json")


def _cost(inputs: Sequence[Content | InputError], max_pixels: int) -> int:
    """In units of the caller's quota."""
    images = [content for content in inputs if not isinstance(content, str)]
    texts = [content for content in inputs if isinstance(content, str)]
    return cost(
        len(inputs),
        megapixels=sum(megapixels(image, max_pixels) for image in images),
        tokens=sum(map(estimated_tokens, texts)),
    )


def _with_version(options: _Options, pinned: str | None) -> _Options:
    """The options with the header's version, which must not contradict theirs."""
    if pinned is None or options.version == pinned:
        return options
    if options.version is not None:
        raise ValidationFailed.of("X-Model-Version", "The request itself asks for another version.")
    return options.model_copy(update={"version": pinned})


def served_by(target: ModelVersion) -> Served:
    """As answers name it."""
    return Served(name=target.model, version=target.version, variant=target.variant)


def _results(results: Sequence[_Result | InputError]) -> list[_Result | FailedResult]:
    return [FailedResult(error=input_problem(r)) if isinstance(r, InputError) else r for r in results]
