"""POST …/generate and …/generate_stream: plain values to a model, its answers in one piece or as they come."""

from collections.abc import AsyncIterator, Sequence

from litestar import Response, Router, post
from litestar.params import FromPath
from litestar.response import Stream

from gateway.api.asking import version_headers
from gateway.api.body import while_connected
from gateway.api.context import HttpRequest
from gateway.api.documentation import operation_id, protocol_failures
from gateway.api.header_fields import PACKED_CALL, SERVED
from gateway.api.operations import GenerateOperation
from gateway.api.problems import KINDS
from gateway.api.tensors import TensorIntake
from gateway.calls import TensorCall, TensorStream
from gateway.catalog import Card
from gateway.dataplane import DataPlane
from gateway.domain import RawTensor
from gateway.errors import GatewayError, ValidationFailed
from gateway.schemas import ProtocolError
from gateway.translate import generate
from gateway.translate.tensors import InferRequest

_MODEL = "/v2/models/{model:str}"
_VERSION = _MODEL + "/versions/{version:str}"
_TAGS = ["Open Inference Protocol"]
_FAILURES = (404, 408, 413, 415, 502, 504)


def generate_routes(dataplane: DataPlane, intake: TensorIntake) -> Router:
    async def parsed(body: bytes, card: Card) -> InferRequest:
        return await intake.from_json(len(body), generate.parse, body, card.served)

    async def begun(request: HttpRequest, model: str, version: str | None) -> tuple[TensorCall, TensorStream]:
        """The call with its answers, of which the first is there or the end. Raises GatewayError."""
        asked = intake.asked(request, model, version)
        async with intake.read(request) as body:
            call = await intake.call(request, asked, body, parsed)
            stream = await while_connected(request, dataplane.stream(call))
        intake.note(stream.target, stream.life, call)
        return call, stream

    @post(
        [f"{_MODEL}/generate_stream", f"{_VERSION}/generate_stream"],
        status_code=200,
        opt={"reads": PACKED_CALL, "tells": SERVED},
        operation_class=GenerateOperation,
        operation_id=operation_id,
        summary="Generate, answer by answer",
        media_type="text/event-stream",
        description="Server-sent events, one an answer. What goes wrong on the way is an event with `error`.",
        responses=protocol_failures(*_FAILURES),
        tags=_TAGS,
    )
    async def generate_stream(
        request: HttpRequest, model: FromPath[str], version: FromPath[str | None] = None
    ) -> Stream:
        call, stream = await begun(request, model, version)
        headers = version_headers(stream.target, stream.life)
        return Stream(_events(call, stream), headers=headers, media_type="text/event-stream")

    @post(
        [f"{_MODEL}/generate", f"{_VERSION}/generate"],
        status_code=200,
        opt={"reads": PACKED_CALL, "tells": SERVED},
        operation_class=GenerateOperation,
        operation_id=operation_id,
        summary="Generate, in one answer",
        responses=protocol_failures(*_FAILURES),
        tags=_TAGS,
    )
    async def generate_once(
        request: HttpRequest, model: FromPath[str], version: FromPath[str | None] = None
    ) -> Response[bytes]:
        call, stream = await begun(request, model, version)
        outputs = await while_connected(request, _only(stream))
        body = generate.render(call.asked, stream.target, outputs)
        return Response(
            body, headers=version_headers(stream.target, stream.life), media_type="application/json"
        )

    return Router("/", route_handlers=[generate_stream, generate_once])


async def _only(stream: TensorStream) -> Sequence[RawTensor]:
    """The outputs of the one answer that there is; of more, none is kept. Raises ValidationFailed, UpstreamError."""
    only: Sequence[RawTensor] = ()
    count = 0
    async for outputs in stream:
        count += 1
        only = outputs if count == 1 else ()
    if count != 1:
        raise ValidationFailed.of("", f"The model gave {count} answers: ask for generate_stream.")
    return only


async def _events(call: TensorCall, stream: TensorStream) -> AsyncIterator[bytes]:
    """The status has been sent when these go out, so an error is an event too, and the last one."""
    try:
        async for outputs in stream:
            yield _event(generate.render(call.asked, stream.target, outputs))
    except GatewayError as error:
        text = f"{KINDS[error.code].title}: {error}"
        yield _event(ProtocolError(error=text).model_dump_json().encode())


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"
