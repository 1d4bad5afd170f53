"""The guard of streams between a transport that only listens and an application that takes what it is given."""

import asyncio
import itertools
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.transport import Wire
from support.virtual_time import VirtualLoop
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.http import StreamGuard

HANDSHAKE = (
    b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def frame(opcode: int, payload: bytes = b"", *, finished: bool = True) -> bytes:
    size = len(payload)
    head = bytes([(0x80 if finished else 0) | opcode])
    head += bytes([0x80 | size]) if size < 126 else struct.pack(">BH", 0x80 | 126, size)
    return head + bytes(4) + payload


class App:
    """Accepts, and takes messages while it may."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.code: int | None = None

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await self.takes.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.code = message["code"]
                return
            self.taken.append(message.get("bytes", message.get("text")))


class Turn:
    """How often others were served meanwhile."""

    def __init__(self) -> None:
        self.count = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)

    def end(self) -> None:
        self._task.cancel()


async def opened() -> tuple[StreamGuard, Wire, App]:
    app, wire = App(), Wire()
    config = Config(app, ws=StreamGuard, lifespan="off", log_config=None, ws_max_size=100_000)
    config.load()
    guard = StreamGuard(config, ServerState(), {})
    guard.connection_made(wire)
    guard.data_received(HANDSHAKE)
    assert wire.paused  # nobody has taken the handshake yet
    await asyncio.sleep(0.01)
    assert wire.said.startswith(b"HTTP/1.1 101 ")
    assert not wire.paused
    wire.said = b""
    return guard, wire, app


def close_code(wire: Wire) -> int:
    """What the last frame says, which closes."""
    start = wire.said.rindex(bytes([0x80 | CLOSE]))
    code: int = struct.unpack(">H", wire.said[start + 2 : start + 4])[0]
    return code


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.run


@pytest.mark.parametrize(
    "sent",
    [
        frame(PONG) * 900,
        frame(PING) * 900,
        frame(TEXT, b"{}") * 900,
        frame(BINARY, finished=False) + frame(CONTINUATION, finished=False) * 899,
        frame(BINARY, b"x" * 2000) * 900,
    ],
    ids=["pongs", "pings", "texts", "pieces of nothing", "frames"],
)
def test_others_get_their_turns_while_much_is_handled_and_nothing_more_is_read(
    run: Callable[..., Any], sent: bytes
) -> None:
    async def busy() -> None:
        guard, wire, _ = await opened()
        others = Turn()
        await asyncio.sleep(0)
        before = others.count
        guard.data_received(sent)
        assert wire.paused
        while wire.paused:
            await asyncio.sleep(0)
        assert others.count - before >= 900 // 64
        others.end()
        assert wire.closed_at is None

    run(busy())


@pytest.mark.parametrize("opcode", [PING, PONG, TEXT, BINARY])
def test_who_sends_more_small_frames_than_anybody_means_is_hung_up_on(
    run: Callable[..., Any], opcode: int
) -> None:
    async def flood() -> None:
        guard, wire, app = await opened()
        guard.data_received(frame(opcode) * 5_000)
        await asyncio.sleep(0.1)
        assert wire.closed_at is not None
        assert close_code(wire) == 1008
        assert app.code == 1008
        assert len(app.taken) <= 1001

    run(flood())


def test_as_many_over_some_seconds_are_welcome_and_so_are_as_many_that_are_large(
    run: Callable[..., Any],
) -> None:
    async def patient() -> None:
        guard, wire, app = await opened()
        for _ in range(5):
            guard.data_received(frame(TEXT, b"{}") * 900)
            await asyncio.sleep(1.5)
        for _ in range(5):
            guard.data_received(frame(BINARY, b"x" * 2000) * 900)
            await asyncio.sleep(0.1)
        assert len(app.taken) == 9_000
        assert wire.closed_at is None

    run(patient())


def test_what_the_application_has_not_taken_is_one_message(run: Callable[..., Any]) -> None:
    async def slow() -> None:
        guard, wire, app = await opened()
        app.takes.clear()
        await asyncio.sleep(0)
        guard.data_received(frame(BINARY, b"1"))  # the application waits for this one already
        await asyncio.sleep(0.1)
        guard.data_received(b"".join(frame(BINARY, b"%d" % number) for number in range(2, 100)))
        await asyncio.sleep(0.1)
        assert guard.queue.qsize() == 1
        assert wire.paused
        app.takes.set()
        await asyncio.sleep(0.1)
        assert app.taken == [b"%d" % number for number in range(1, 100)]
        assert not wire.paused

    run(slow())


def test_who_reads_no_answers_is_not_heard(run: Callable[..., Any]) -> None:
    async def deaf() -> None:
        guard, wire, _ = await opened()
        guard.pause_writing()
        guard.data_received(frame(PING, b"x") * 200)
        await asyncio.sleep(0.1)
        assert wire.paused
        assert wire.said.count(b"x") <= 64
        guard.resume_writing()
        await asyncio.sleep(0.1)
        assert wire.said.count(b"x") == 200
        assert not wire.paused

    run(deaf())


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x82\x01x", 1002),
        (frame(0x3), 1002),
        (frame(BINARY | 0x40, b"x"), 1002),
        (frame(CONTINUATION, b"x"), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(CLOSE, b"\x03\xe8\xff"), 1007),
    ],
    ids=["not masked", "an unknown kind", "a reserved bit", "the rest of nothing", "no text", "no reason"],
)
def test_who_breaks_the_rules_is_told_by_a_code(run: Callable[..., Any], sent: bytes, code: int) -> None:
    async def wrong() -> None:
        guard, wire, app = await opened()
        guard.data_received(frame(BINARY, b"good") + sent)
        await asyncio.sleep(0.1)
        assert app.taken == [b"good"]
        assert close_code(wire) == code
        assert wire.closed_at is not None

    run(wrong())


def test_where_the_network_cuts_messages_changes_nothing(run: Callable[..., Any]) -> None:
    async def cut() -> None:
        guard, wire, app = await opened()
        sent = [b"%d" % number * 50 for number in range(100)]
        whole = b"".join(frame(BINARY, each) for each in sent) + frame(CLOSE, b"\x03\xe8")
        for start, end in itertools.pairwise([*range(0, len(whole), 77), len(whole)]):
            guard.data_received(whole[start:end])
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert app.taken == sent
        assert close_code(wire) == 1000
        assert wire.closed_at is not None

    run(cut())


def test_a_stream_that_the_application_closes_ends_when_the_peer_says_so_too(run: Callable[..., Any]) -> None:
    async def both() -> None:
        guard, wire, app = await opened()
        app.takes.clear()
        await asyncio.sleep(0)
        guard.data_received(frame(BINARY, b"x") * 900 + frame(CLOSE, b"\x03\xe8"))
        await guard.send({"type": "websocket.close", "code": 4429})
        began = asyncio.get_running_loop().time()
        while wire.closed_at is None:
            await asyncio.sleep(0.01)
        assert wire.closed_at - began < 1  # and not when uvicorn's patience is over
        assert close_code(wire) == 4429
        guard.connection_lost(None)
        app.takes.set()
        await asyncio.sleep(0.1)

    run(both())
