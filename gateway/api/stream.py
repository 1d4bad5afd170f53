"""/v1/detect/stream and /v1/classify/stream: frames in over a WebSocket, answers out, and the newest frame wins.

A frame is a request of its own: it passes the door, pays, has an id and is counted. One is in flight at a time; of
those that come meanwhile the newest waits and the others are dropped, so a slow model never makes an old picture.
After an answer that asks to wait nothing is taken until then.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import structlog
from litestar import Router, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect

from gateway.api.access import Access
from gateway.api.asking import pinned_by, timeout_of
from gateway.api.body import BodyReader
from gateway.api.context import Context, context_of
from gateway.api.inference import Intake, served_by
from gateway.api.middleware import Requests, Tracing, trace_of
from gateway.api.origins import is_own
from gateway.api.parsing import load_json
from gateway.api.problems import KINDS, described, fields_of, log_bug, log_failure
from gateway.api.stream_frames import Frame, Newest, Places
from gateway.api.stream_schemas import FrameAnswer, FrameProblem
from gateway.calls import Answer, Call
from gateway.dataplane import DataPlane
from gateway.errors import (
    AmbiguousCredentials,
    BodyTooLarge,
    ClientDisconnected,
    Forbidden,
    GatewayError,
    InputError,
    InvalidKey,
    InvalidToken,
    Overloaded,
    StreamEnded,
    Unauthenticated,
    UpgradeRequired,
    ValidationFailed,
)
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult, validated
from gateway.telemetry.timeline import Timeline
from gateway.telemetry.tracing import Traced

PROTOCOL = "gateway.stream.v1"

_FOR_GOOD = (
    AmbiguousCredentials,
    Unauthenticated,
    InvalidKey,
    InvalidToken,
    Forbidden,
)  # the next frame fares no better
_PATIENCE = 10.0  # seconds that a stream sits out; who has to wait for longer comes back
_MAX_OPTIONS_BYTES = 4096
_CLOSED = 4000  # plus the status that a request would have had

_Options = TypeVar("_Options", ClassifyOptions, DetectOptions)
_Result = TypeVar("_Result", ClassifyResult, DetectResult)
Socket = WebSocket[Any, Any, Any]

_log = structlog.stdlib.get_logger("gateway.streams")


class StreamRequests(Requests, Protocol):
    """Counts the streams too."""

    def stream_opened(self) -> None: ...

    def stream_closed(self) -> None: ...

    def dropped(self, frames: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """`frame` is in bytes; `idle`, without a frame, and `length` of a stream in seconds."""

    frame: int
    idle: float
    length: float


@dataclass(frozen=True, slots=True)
class Hall:
    """What all streams share."""

    access: Access
    intake: Intake
    bodies: BodyReader
    places: Places
    requests: StreamRequests
    origins: Collection[str]
    bounds: Bounds
    clock: Callable[[], float]
    tracing: Tracing | None = None


class Stream(Generic[_Options, _Result]):
    """One WebSocket, from its handshake to its end. `work` answers the call that a frame makes."""

    def __init__(
        self,
        socket: Socket,
        hall: Hall,
        options: type[_Options],
        work: Callable[[Call[_Options]], Awaitable[Answer[_Result]]],
    ) -> None:
        self._socket = socket
        self._hall = hall
        self._options: type[_Options] = options
        self._asked: _Options = options()
        self._work: Callable[[Call[_Options]], Awaitable[Answer[_Result]]] = work
        self._newest = Newest()
        self._context = context_of(socket)
        self._route: str = socket.scope.get("path_template", "")
        self._frames = 0
        self._counted: GatewayError | None = None  # a failure of a frame that ends the stream as well

    async def run(self) -> None:
        """Refusals are told in the stream, not by the handshake: a page never learns why a handshake failed."""
        offered = self._socket.scope.get("subprotocols", ())
        with suppress(ClientDisconnected):
            with _reaching():
                await self._socket.accept(PROTOCOL if PROTOCOL in offered else None)
            code = await self._ended()
            with _reaching():
                await self._socket.close(code)

    async def _ended(self) -> int:
        """Serves until there is a reason to close, which is told; answers its code. Raises ClientDisconnected."""
        try:
            await self._serve()
        except ClientDisconnected:
            raise
        except GatewayError as error:
            log_failure(error)
            if error is not self._counted:
                self._count(error.code)
            await self._refuse(error.code, str(error), error)
            return _CLOSED + KINDS[error.code].status
        except Exception as error:  # noqa: BLE001  # whatever nobody foresaw, like for a request
            log_bug(error)
            self._count("internal_error")
            await self._refuse("internal_error", "Something went wrong here.", None)
            return _CLOSED + 500
        finally:
            self._newest.close()
        return 1000

    async def _serve(self) -> None:
        hall = self._hall
        self._check_page()
        await hall.access.recognise(self._socket, self._context)
        with hall.places.taken(self._context.caller):
            hall.requests.stream_opened()
            try:
                await self._both_ways()
            finally:
                hall.requests.stream_closed()
                _log.info("stream", route=self._route, frames=self._frames)

    def _check_page(self) -> None:
        """A page has to be the gateway's own, or one that may call. Raises Forbidden, ValidationFailed."""
        if self._socket.scope["query_string"]:
            raise ValidationFailed.of("?", "The options of a stream stand in a text message.")
        headers = self._socket.headers
        origin = headers.get("origin")
        if origin is None or origin in self._hall.origins or is_own(origin, headers):
            return
        raise Forbidden("Pages of this origin may not open a stream.")

    async def _both_ways(self) -> None:
        """Reads and answers until one of the two ends."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._answer())]
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=self._hall.bounds.length, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()
        raise StreamEnded("The stream was open for as long as one may be.")

    async def _read(self) -> None:
        """Raises ClientDisconnected, StreamEnded, ValidationFailed."""
        try:
            async with asyncio.timeout(self._hall.bounds.idle) as silence:
                while True:
                    await self._read_one(silence)
        except TimeoutError:
            raise StreamEnded("No frame came for too long.") from None

    async def _read_one(self, silence: asyncio.Timeout) -> None:
        """Frames alone put the end of `silence` off: who only sends options holds a place for nothing."""
        message = await self._socket.receive()
        if message["type"] != "websocket.receive":
            raise ClientDisconnected("The client closed the stream.")
        data = message.get("bytes")
        if data is None:
            self._asked = self._read_options(message.get("text") or "")
        else:
            self._keep(data)
            silence.reschedule(asyncio.get_running_loop().time() + self._hall.bounds.idle)

    def _read_options(self, text: str) -> _Options:
        """What holds for the frames that come after."""
        document = text.encode()
        if len(document) > _MAX_OPTIONS_BYTES:
            raise BodyTooLarge(f"A text message has at most {_MAX_OPTIONS_BYTES} bytes.")
        return validated(self._options, load_json(document), strict=True)

    def _keep(self, data: bytes) -> None:
        self._frames += 1
        frame = Frame(self._frames, data)
        try:
            frame.held.enter_context(self._hall.bodies.holding(self._context.caller.tenant, len(data)))
        except Overloaded as error:
            if self._newest.waits:
                self._newest.drop()
                self._hall.requests.dropped(1)
                return
            # Who waits for its answer before the next frame has to hear of it.
            frame = Frame(self._frames, b"", refused=error.with_traceback(None))
        self._hall.requests.dropped(self._newest.put(frame))

    async def _answer(self) -> None:
        """Raises what holds for every frame to come."""
        while True:
            frame, dropped = await self._newest.take()
            with frame.held:
                pause = await self._answer_one(frame, dropped)
            await asyncio.sleep(pause)

    async def _answer_one(self, frame: Frame, dropped: int) -> float:
        """Answers how many seconds to wait before the next frame is looked at."""
        hall = self._hall
        request_id = f"{self._context.request_id[:48]}-{frame.number}"
        timeline = Timeline(hall.clock, trace_of(self._socket.scope, hall.tracing))
        context = Context(request_id, hall.clock(), timeline, payload=len(frame.data))
        status, failure = 499, None
        hall.requests.begun()
        try:
            answer = await self._infer(frame, context)
            status = 200
        except GatewayError as error:
            status, failure = KINDS[error.code].status, error
            context.code = error.code
        finally:
            hall.requests.over()
            hall.requests.finished(context.finished(self._route, status, hall.clock()))
            context.end(status)
            self._trace(context, status)
        if failure is None:
            await self._say(self._told(frame, dropped, context, answer))
            return 0.0
        pause = failure.retry_after or 0.0
        if isinstance(failure, _FOR_GOOD) or pause > _PATIENCE:
            self._counted = failure
            raise failure
        log_failure(failure)
        await self._say(self._problem(failure.code, str(failure), failure, frame.number, dropped, request_id))
        return pause

    async def _infer(self, frame: Frame, context: Context) -> Answer[_Result]:
        """The way of a request, from the door on: a key that was revoked meanwhile opens it no more."""
        access, intake = self._hall.access, self._hall.intake
        await access.recognise(self._socket, context)
        await access.let_in(context)
        if frame.refused is not None:
            raise frame.refused
        if len(frame.data) > self._hall.bounds.frame:
            raise BodyTooLarge(f"A frame has at most {self._hall.bounds.frame} bytes.")
        call = await intake.call(
            self._socket,
            context,
            [frame.data],
            self._asked,
            within=timeout_of(self._socket),
            pinned=pinned_by(self._socket),
        )
        answer = await self._work(call)
        intake.note(answer, context)
        return answer

    def _trace(self, context: Context, status: int) -> None:
        """A frame is traced as a request is, as part of the trace in which its stream was opened, if there is one."""
        tracing, trace = self._hall.tracing, context.timeline.trace
        if tracing is None or trace is None:
            return
        now = self._hall.clock()
        tracing.answers(trace, status, now - context.started, known=context.principal is not None)
        finished = context.finished(self._route, status, now)
        tracing.over(Traced(trace, finished, "GET", self._socket.scope["scheme"], context.request_id, now))

    def _told(self, frame: Frame, dropped: int, context: Context, answer: Answer[_Result]) -> FrameAnswer:
        (result,) = answer.results
        assert not isinstance(result, InputError)  # noqa: S101  # of a single input it is raised
        spent = {stage.value: seconds for stage, seconds in context.timeline.seconds().items()}
        spent["total"] = self._hall.clock() - context.started
        return FrameAnswer(
            frame=frame.number,
            dropped=dropped,
            id=context.request_id,
            model=served_by(answer.target),
            result=result,
            timing={stage: round(seconds * 1000, 2) for stage, seconds in spent.items()},
        )

    def _problem(
        self,
        code: str,
        detail: str,
        error: GatewayError | None,
        frame: int | None,
        dropped: int,
        request_id: str,
    ) -> FrameProblem:
        retry_after = None if error is None else error.retry_after
        return FrameProblem(
            frame=frame,
            dropped=dropped,
            problem=described(
                code, detail, self._route, request_id, None if error is None else fields_of(error)
            ),
            retry_after=None if retry_after is None else math.ceil(retry_after * 1000) / 1000,
        )

    def _count(self, code: str) -> None:
        """A problem of the stream counts once more, beside its handshake, which went well."""
        hall = self._hall
        self._context.code = code
        hall.requests.finished(self._context.finished(self._route, KINDS[code].status, hall.clock()))

    async def _refuse(self, code: str, detail: str, error: GatewayError | None) -> None:
        """The last message."""
        await self._say(self._problem(code, detail, error, None, 0, self._context.request_id))

    async def _say(self, message: FrameAnswer | FrameProblem) -> None:
        with _reaching():
            await self._socket.send_text(message.model_dump_json(exclude_none=True))


@contextmanager
def _reaching() -> Iterator[None]:
    """That nobody is there any more is told in one way: Litestar has an error of its own for it, and what a server
    raises is an OSError, by ASGI. Which of them notices first, and whether before our reader, is chance.

    Raises ClientDisconnected.
    """
    try:
        yield
    except (WebSocketDisconnect, OSError):
        raise ClientDisconnected("The client closed the stream.") from None


def stream_routes(dataplane: DataPlane, hall: Hall) -> Router:
    """The handlers. They are public by the table and knock themselves: see `Stream.run`."""

    @websocket("/v1/classify/stream")
    async def classify_stream(socket: Socket) -> None:
        await Stream(socket, hall, ClassifyOptions, dataplane.classify).run()

    @websocket("/v1/detect/stream")
    async def detect_stream(socket: Socket) -> None:
        await Stream(socket, hall, DetectOptions, dataplane.detect).run()

    @get(["/v1/classify/stream", "/v1/detect/stream"], include_in_schema=False, sync_to_thread=False)
    def no_stream() -> None:
        raise UpgradeRequired("At this path is a stream: open a WebSocket.")

    return Router("/", route_handlers=[classify_stream, detect_stream, no_stream], opt={"public": True})
