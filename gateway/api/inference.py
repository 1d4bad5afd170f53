"""/v1/classify and /v1/detect: a request in any of the three body forms to a call, an answer to JSON."""

import re
from collections.abc import Awaitable, Callable, Sequence
from email.utils import formatdate
from typing import TypeVar

from litestar import Response, Router, post

from gateway.api.access import Access
from gateway.api.body import BodyReader, while_connected
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import ClassifyOperation, DetectOperation, failures, operation_id
from gateway.api.parsing import media_type, parse
from gateway.api.problems import input_problem
from gateway.canary import Life, Preference, Source
from gateway.canary.callers import Callers
from gateway.dataplane import Answer, Call, DataPlane
from gateway.domain import ModelVersion, Priority
from gateway.errors import InputError, ValidationFailed
from gateway.priority import PriorityPolicy, urgency_of
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
    is_version,
)
from gateway.translate.inspection import megapixels

_MILLISECONDS = re.compile(r"[1-9][0-9]{0,15}")

_Options = TypeVar("_Options", ClassifyOptions, DetectOptions)
_Result = TypeVar("_Result", ClassifyResult, DetectResult)


class Intake:
    """Turns a request into a call: reads the body, parses it, starts the clock at the first byte."""

    def __init__(
        self,
        bodies: BodyReader,
        priorities: PriorityPolicy,
        access: Access,
        callers: Callers,
        *,
        max_inputs: int,
    ) -> None:
        self._bodies = bodies
        self._priorities = priorities
        self._access = access
        self._callers = callers
        self._max_inputs = max_inputs

    async def serve(
        self,
        request: HttpRequest,
        options: type[_Options],
        work: Callable[[Call[_Options]], Awaitable[Answer[_Result]]],
    ) -> Answer[_Result]:
        """Runs `work` on the request's call, and holds the body's memory for just as long.

        Raises GatewayError.
        """
        context = context_of(request)
        timeout = _timeout(request)
        pinned = _pinned(request)
        context.priority = self._priority(request)
        content_type = request.headers.get("content-type")
        media_type(content_type)  # refuses what will not be read before reading it
        async with self._bodies.read(request) as body:
            images, asked = parse(
                body, content_type, request.scope["query_string"], options, self._max_inputs
            )
            context.payload = len(body)
            context.images = [len(image) for image in images if isinstance(image, bytes)]
            asked = _with_version(asked, pinned)
            context.priority = self._priority(request, asked.priority)
            await self._access.charge_more(context, cost(len(images), sum(map(megapixels, images))) - 1)
            call = Call(
                images=images,
                options=asked,
                principal=context.caller,
                priority=context.priority,
                started=context.started,
                timeout=timeout,
                request_id=context.request_id,
                preference=_preference(request),
                named=lambda source, name: _named(request, source, name),
                follow=context.calls.append,
                timeline=context.timeline,
            )
            answer = await while_connected(request, work(call))
        if answer.life is not None:
            self._callers.note(answer.target, context.caller)
        return answer

    def _priority(self, request: HttpRequest, asked: PriorityName | None = None) -> Priority:
        principal = context_of(request).caller
        urgency = urgency_of(", ".join(request.headers.getall("priority", [])))
        wanted = None if asked is None else Priority[asked.upper()]
        return self._priorities.assign(
            self._access.tier_of(principal), principal.priority_ceiling, urgency, wanted
        )


def inference_routes(dataplane: DataPlane, intake: Intake) -> Router:
    """The handlers, bound to their collaborators."""

    @post(
        ["/v1/classify", "/classify"],
        status_code=200,
        operation_class=ClassifyOperation,
        operation_id=operation_id,
        summary="Classify images",
        responses=failures(400, 401, 403, 404, 408, 413, 415, 422, 429, 502, 503, 504),
        tags=["inference"],
    )
    async def classify(request: HttpRequest) -> Response[ClassifyResponse]:
        answer = await intake.serve(request, ClassifyOptions, dataplane.classify)
        content = ClassifyResponse(
            id=context_of(request).request_id, model=_served(answer.target), results=_results(answer.results)
        )
        return Response(content, headers=_version_headers(answer.target, answer.life))

    @post(
        ["/v1/detect", "/detect"],
        status_code=200,
        operation_class=DetectOperation,
        operation_id=operation_id,
        summary="Find objects in images",
        responses=failures(400, 401, 403, 404, 408, 413, 415, 422, 429, 502, 503, 504),
        tags=["inference"],
    )
    async def detect(request: HttpRequest) -> Response[DetectResponse]:
        answer = await intake.serve(request, DetectOptions, dataplane.detect)
        content = DetectResponse(
            id=context_of(request).request_id, model=_served(answer.target), results=_results(answer.results)
        )
        return Response(content, headers=_version_headers(answer.target, answer.life))

    return Router("/", route_handlers=[classify, detect])


def _timeout(request: HttpRequest) -> float | None:
    """The seconds that the caller gives us by X-Request-Timeout, which is in milliseconds; None without it."""
    text = request.headers.get("x-request-timeout")
    if text is None:
        return None
    if not _MILLISECONDS.fullmatch(text):
        raise ValidationFailed.of("X-Request-Timeout", "A whole number of milliseconds, at least 1.")
    return int(text) / 1000


def _pinned(request: HttpRequest) -> str | None:
    """The version that X-Model-Version asks for."""
    text = request.headers.get("x-model-version")
    if text is not None and not is_version(text):
        raise ValidationFailed.of("X-Model-Version", "A version, such as 2.")
    return text


def _with_version(options: _Options, pinned: str | None) -> _Options:
    """The options with the header's version, which must not contradict theirs."""
    if pinned is None or options.version == pinned:
        return options
    if options.version is not None:
        raise ValidationFailed.of("X-Model-Version", "The request itself asks for another version.")
    return options.model_copy(update={"version": pinned})


def _preference(request: HttpRequest) -> Preference | None:
    text = request.headers.get("x-canary")
    if text is None:
        return None
    try:
        return Preference(text)
    except ValueError:
        raise ValidationFailed.of("X-Canary", "always or never.") from None


def _named(request: HttpRequest, source: Source, name: str) -> str | None:
    """The end user whom a header or a cookie names."""
    values = request.headers if source is Source.HEADER else request.cookies
    return values.get(name) or None


def _served(target: ModelVersion) -> Served:
    return Served(name=target.model, version=target.version, variant=target.variant)


def _version_headers(target: ModelVersion, life: Life | None) -> dict[str, str]:
    """Which version answered, and how long it has to live: Deprecation (RFC 9745) and Sunset (RFC 8594)."""
    headers = {"X-Model-Version": target.version, "X-Model-Variant": target.variant}
    if life is not None and life.deprecated_at is not None:
        headers["Deprecation"] = f"@{life.deprecated_at:.0f}"
    if life is not None and life.sunset_at is not None:
        headers["Sunset"] = formatdate(life.sunset_at, usegmt=True)
    return headers


def _results(results: Sequence[_Result | InputError]) -> list[_Result | FailedResult]:
    return [FailedResult(error=input_problem(r)) if isinstance(r, InputError) else r for r in results]
