"""POST …/infer of the Open Inference Protocol: a body in one of its three forms to a call, outputs to an answer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Concatenate, ParamSpec, TypeVar

from litestar import Response, Router
from litestar.params import FromPath

from gateway.api.access import Access
from gateway.api.asking import named_in, pinned_by, preference_of, timeout_of, urgency_in, version_headers
from gateway.api.body import BodyReader, Reading, content_coding, while_connected
from gateway.api.compression import CODINGS, accepted, deflate, inflate
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import operation_id, protocol_failures
from gateway.api.handlers import Encoded, inference
from gateway.api.header_fields import TENSOR_CALL, TENSORS
from gateway.api.operations import InferOperation
from gateway.auth import may_use
from gateway.calls import TensorAnswer, TensorCall
from gateway.canary import Life
from gateway.canary.callers import Callers
from gateway.catalog import Card, Catalog, ModelCard, Passthrough
from gateway.dataplane import DataPlane
from gateway.domain import ModelVersion, Principal, Priority
from gateway.errors import BodyTooLarge, ValidationFailed, VersionNotFound
from gateway.pool import WorkerPool
from gateway.priority import PriorityPolicy
from gateway.ratelimit import cost
from gateway.schemas import is_version
from gateway.telemetry.timeline import Stage
from gateway.translate import image, signature
from gateway.translate.decode import Limits
from gateway.translate.tensors import InferAnswer, InferRequest, parse, render
from gateway.value import value

_HEADER_LENGTH = "Inference-Header-Content-Length"
_LEVELS = {
    0: None,
    1: Priority.INTERACTIVE,
    2: Priority.STANDARD,
}  # Triton's; whatever is below them is batch
_INLINE = 64 * 1024  # bytes that are translated faster than handed to a thread

_P = ParamSpec("_P")
_T = TypeVar("_T")


@value
class Asked:
    """What the path and the headers of a request say. `timeout` is in seconds; None where nothing is said."""

    card: Card
    version: str | None
    timeout: float | None
    urgency: int | None


@value
class TensorBounds:
    """`body`, after decompression too, and the `json` in it are in bytes; `image` is for models that take a file."""

    body: int
    json: int
    image: Limits


class TensorIntake:
    """Turns a request into a call, and its outputs into an answer."""

    def __init__(
        self,
        bodies: BodyReader,
        priorities: PriorityPolicy,
        access: Access,
        catalog: Catalog,
        pool: WorkerPool,
        callers: Callers,
        bounds: TensorBounds,
    ) -> None:
        self._bodies = bodies
        self._priorities = priorities
        self._access = access
        self._catalog = catalog
        self._pool = pool
        self._callers = callers
        self._bounds = bounds

    async def serve(
        self,
        request: HttpRequest,
        model: str,
        version: str | None,
        work: Callable[[TensorCall], Awaitable[TensorAnswer]],
    ) -> Response[bytes]:
        """Runs `work` on the request's call, and holds the body's memory for just as long. Raises GatewayError."""
        header_length = _header_length(request)

        async def parsed(body: bytes, card: Card) -> InferRequest:
            if card.served.decoupled:
                raise ValidationFailed.of("", "This model answers in streams: use generate_stream.")
            return await self._parsed(body, header_length, card)

        asked = self.asked(request, model, version)
        async with self.read(request) as body:
            call = await self.call(request, asked, body, parsed)
            answer = await while_connected(request, work(call))
            self.note(answer.target, answer.life, call)
            with call.timeline.stage(Stage.POST):
                size = sum(len(tensor.data) for tensor in answer.outputs)
                rendered = await self._translated(size, render, call.asked, answer.target, answer.outputs)
                return await self._response(request, rendered, version_headers(answer.target, answer.life))

    def note(self, target: ModelVersion, life: Life | None, call: TensorCall) -> None:
        """Takes down who still calls a version that will go."""
        if life is not None:
            self._callers.note(target, call.principal)

    def asked(self, request: HttpRequest, model: str, version: str | None) -> Asked:
        """What can be known, and refused, before the body is read. Raises GatewayError."""
        context = context_of(request)
        caller = context.caller
        card = self._catalog.callable(model, lambda name: may_use(caller, name))
        found = Asked(card, _pinned(request, version), timeout_of(request), urgency_in(request))
        context.priority = self._priority(caller, found.urgency, None)
        return found

    async def call(
        self,
        request: HttpRequest,
        asked: Asked,
        body: bytes,
        parsed: Callable[[bytes, Card], Awaitable[InferRequest]],
    ) -> TensorCall:
        """The request's call, which fits the model and is paid for. Raises GatewayError."""
        context = context_of(request)
        caller, card = context.caller, asked.card
        context.payload = len(body)
        with context.timeline.stage(Stage.DECODE):
            tensors = await parsed(body, card)
            signature.check(tensors, card.served)
            megapixels = await self._megapixels(tensors, card)
        context.priority = self._priority(caller, asked.urgency, _LEVELS.get(tensors.level, Priority.BATCH))
        units = cost(signature.rows(tensors, card.served), megapixels)
        await self._access.charge_more(context, units - 1)
        return TensorCall(
            card=card,
            version=asked.version,
            asked=tensors,
            principal=caller,
            priority=context.priority,
            started=context.started,
            timeout=min(filter(None, (asked.timeout, tensors.timeout)), default=None),
            request_id=context.request_id,
            preference=preference_of(request),
            named=lambda source, name: named_in(request, source, name),
            follow=context.calls.append,
            timeline=context.timeline,
        )

    def read(self, request: HttpRequest) -> AbstractAsyncContextManager[bytes]:
        """The body for the length of a block, as it was before it was compressed."""
        coding = content_coding(request)
        sent = self._bodies.read(request, limit=self._bounds.body, codings=CODINGS)
        return sent if coding == "identity" else self._inflated(sent, coding)

    @asynccontextmanager
    async def _inflated(self, sent: Reading, coding: str) -> AsyncIterator[bytes]:
        async with sent as body:
            # On a thread, however few they are: a thousand times as many may come of them.
            unpacked = await self._pool.run(inflate, body, coding, self._bounds.body)
            del body  # makes way
            sent.become(unpacked)
            yield unpacked

    async def _parsed(self, body: bytes, header_length: int | None, card: Card) -> InferRequest:
        """The request, in whichever of its forms."""
        if header_length == 0:
            return signature.from_bytes(body, card.served)
        return await self.from_json(header_length or len(body), parse, body, header_length)

    async def from_json(
        self,
        length: int,
        work: Callable[Concatenate[bytes, _P], InferRequest],
        body: bytes,
        /,
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> InferRequest:
        """What `work` makes of a body that begins with so many bytes of JSON. Raises BodyTooLarge."""
        if length > self._bounds.json:
            raise BodyTooLarge(
                f"JSON has at most {self._bounds.json} bytes: send large tensors to infer, as binary data."
            )
        return await self._translated(len(body), work, body, *args, **kwargs)

    async def _megapixels(self, asked: InferRequest, card: Card) -> float:
        """How large the inputs are. A picture's file is priced, and refused, by its header, as on /v1."""
        if not (isinstance(card, ModelCard) and isinstance(card.encoding, Passthrough)):
            return signature.megapixels(asked)
        (files,) = asked.inputs
        return await self._translated(len(files.data), image.megapixels, files.data, self._bounds.image)

    async def _translated(
        self, size: int, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """`work`, on a thread where so many bytes would stall the event loop."""
        if size <= _INLINE:
            return work(*args, **kwargs)
        return await self._pool.run(work, *args, **kwargs)

    async def _response(
        self, request: HttpRequest, answer: InferAnswer, headers: Mapping[str, str]
    ) -> Response[bytes]:
        binary = bool(answer.tensors)
        parts = [answer.header, *answer.tensors]
        size = sum(map(len, parts))
        more = {"Vary": "Accept-Encoding"} | ({_HEADER_LENGTH: str(len(answer.header))} if binary else {})
        choice = accepted(", ".join(request.headers.getall("accept-encoding", [])))
        if choice and choice.pays(size, text=not binary):
            body = await self._translated(size, deflate, parts, choice.coding)
            more["Content-Encoding"] = choice.coding
        else:
            body = b"".join(parts)
        media_type = "application/octet-stream" if binary else "application/json"
        return Encoded(body, {**headers, **more}, media_type)

    def _priority(self, caller: Principal, urgency: int | None, wanted: Priority | None) -> Priority:
        return self._priorities.assign(self._access.tier_of(caller), caller.priority_ceiling, urgency, wanted)


def tensor_routes(dataplane: DataPlane, intake: TensorIntake) -> Router:
    """The handler, bound to its collaborators."""

    @inference(
        ["/v2/models/{model:str}/infer", "/v2/models/{model:str}/versions/{version:str}/infer"],
        status_code=200,
        opt={"reads": TENSOR_CALL, "tells": TENSORS},
        operation_class=InferOperation,
        operation_id=operation_id,
        summary="Infer",
        responses=protocol_failures(404, 408, 413, 415, 502, 504),
        tags=["Open Inference Protocol"],
    )
    async def infer(
        request: HttpRequest, model: FromPath[str], version: FromPath[str | None] = None
    ) -> Response[bytes]:
        return await intake.serve(request, model, version, dataplane.infer)

    return Router("/", route_handlers=[infer])


def _pinned(request: HttpRequest, version: str | None) -> str | None:
    """The version of the path or of X-Model-Version, which must not contradict each other."""
    if version is not None and not is_version(version):
        raise VersionNotFound("This version of the model is not loaded.")
    asked = pinned_by(request)
    if None not in (version, asked) and version != asked:
        raise ValidationFailed.of("X-Model-Version", "The path itself asks for another version.")
    return version or asked


def _header_length(request: HttpRequest) -> int | None:
    """The bytes of the body that are JSON; None: all of them; 0: the body is a tensor."""
    text = request.headers.get(_HEADER_LENGTH.lower())
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise ValidationFailed.of(_HEADER_LENGTH, "A whole number of bytes.")
    return int(text)
