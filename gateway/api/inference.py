"""/v1/classify and /v1/detect: a request in any of the three body forms to a call, an answer to JSON."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from litestar import Response, Router, post

from gateway.api.access import Access
from gateway.api.body import BodyReader
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import ClassifyOperation, DetectOperation, failures, operation_id
from gateway.api.parsing import media_type, parse
from gateway.api.problems import input_problem
from gateway.dataplane import Answer, Call, DataPlane
from gateway.domain import Deadline, ModelVersion, Priority
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
    Served,
)

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
        *,
        max_inputs: int,
        timeout: float,
        max_timeout: float,
    ) -> None:
        self._bodies = bodies
        self._priorities = priorities
        self._access = access
        self._max_inputs = max_inputs
        self._timeout = timeout
        self._max_timeout = max_timeout

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
        deadline = Deadline(context.started + self._seconds(request))
        priority = self._priority(request)
        context.priority = priority
        content_type = request.headers.get("content-type")
        media_type(content_type)  # refuses what will not be read before reading it
        async with self._bodies.read(request) as body:
            images, asked = parse(
                body, content_type, request.scope["query_string"], options, self._max_inputs
            )
            await self._access.charge_more(context, cost(len(images)) - 1)
            call = Call(images, asked, context.caller, priority, deadline, context.request_id)
            answer = await work(call)
        context.model, context.version = answer.target.model, answer.target.version
        return answer

    def _seconds(self, request: HttpRequest) -> float:
        """What the caller gives us: X-Request-Timeout in milliseconds, or the default; never more than the bound."""
        text = request.headers.get("x-request-timeout")
        if text is None:
            return self._timeout
        if not _MILLISECONDS.fullmatch(text):
            raise ValidationFailed.of("X-Request-Timeout", "A whole number of milliseconds, at least 1.")
        return min(int(text) / 1000, self._max_timeout)

    def _priority(self, request: HttpRequest) -> Priority:
        context = context_of(request)
        urgency = urgency_of(", ".join(request.headers.getall("priority", [])))
        return self._priorities.assign(
            context.caller_tier, context.caller.priority_ceiling, urgency, requested_class=None
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
        return Response(content, headers=_version_headers(answer.target))

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
        return Response(content, headers=_version_headers(answer.target))

    return Router("/", route_handlers=[classify, detect])


def _served(target: ModelVersion) -> Served:
    return Served(name=target.model, version=target.version, variant=target.variant)


def _version_headers(target: ModelVersion) -> dict[str, str]:
    return {"X-Model-Version": target.version, "X-Model-Variant": target.variant}


def _results(results: Sequence[_Result | InputError]) -> list[_Result | FailedResult]:
    return [FailedResult(error=input_problem(r)) if isinstance(r, InputError) else r for r in results]
