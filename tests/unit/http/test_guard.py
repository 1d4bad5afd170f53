"""The guard between a transport that only listens and an application of three lines, in virtual time."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.transport import Wire
from support.virtual_time import VirtualLoop
from support.wire import answers
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.http import Bounds, Guard, StreamGuard, refusal_of

GET = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = (
    b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CHUNKED = b"POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class App:
    """Answers with the body that it read, after `seconds`, or with the error that the guard gave it."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.reads = True
        self.watches = False  # whether the caller leaves, while it works
        self.left = False  # whether one did

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        body, more = b"", self.reads
        while more and refusal_of(scope) is None:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        leaving = asyncio.ensure_future(receive()) if self.watches else None
        await asyncio.sleep(self.seconds)
        if leaving is not None:
            self.left = leaving.done()
            leaving.cancel()
        error = refusal_of(scope)
        content = error.code.encode() if error else body
        length = (b"content-length", str(len(content)).encode())
        await send({"type": "http.response.start", "status": 400 if error else 200, "headers": [length]})
        await send({"type": "http.response.body", "body": content})


class Server:
    """A worker's guards, all with one application."""

    def __init__(self, **bounds: Any) -> None:
        self.app = App()
        self._config = Config(self.app, http=Guard, lifespan="off", log_config=None, ws=StreamGuard)
        self._config.load()
        self._state = ServerState()
        self._bounds = Bounds(**bounds)

    def connect(self, address: str = "10.0.0.1") -> tuple[Guard, Wire]:
        guard = Guard(self._config, self._state, {}, bounds=self._bounds)
        wire = Wire(address)
        guard.connection_made(wire)
        return guard, wire


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.run


def told(wire: Wire) -> list[tuple[int, bytes]]:
    return [(answer.status, answer.body) for answer in answers(wire.said)]


async def until_closed(wire: Wire) -> float:
    while wire.closed_at is None:
        await asyncio.sleep(0.01)
    return wire.closed_at


def test_a_head_has_its_seconds_from_its_first_byte(run: Callable[..., Any]) -> None:
    async def slow() -> None:
        guard, wire = Server(head_seconds=5).connect()
        await asyncio.sleep(4)
        guard.data_received(GET[:10])
        await asyncio.sleep(4)
        guard.data_received(GET[10:20])
        assert await until_closed(wire) == pytest.approx(9, abs=0.1)
        assert told(wire) == [(400, b"request_timeout")]

    run(slow())


def test_silence_has_them_from_the_connection(run: Callable[..., Any]) -> None:
    async def silent() -> None:
        _, wire = Server(head_seconds=5).connect()
        assert await until_closed(wire) == pytest.approx(5, abs=0.1)
        assert told(wire) == [(400, b"request_timeout")]

    run(silent())


def test_silence_behind_an_answer_ends_without_a_word(run: Callable[..., Any]) -> None:
    async def resting() -> None:
        guard, wire = Server().connect()
        guard.data_received(GET)
        await asyncio.sleep(1)
        guard.data_received(b"\r\n")  # which is nothing
        assert await until_closed(wire) == pytest.approx(5, abs=0.1)
        assert told(wire) == [(200, b"")]

    run(resting())


def test_a_request_that_takes_longer_than_a_head_may_is_left_alone(run: Callable[..., Any]) -> None:
    async def long() -> None:
        server = Server(head_seconds=5)
        server.app.seconds = 60
        guard, wire = server.connect()
        guard.data_received(GET)
        await asyncio.sleep(61)
        assert told(wire) == [(200, b"")]

    run(long())


def test_while_the_guard_does_not_read_nobody_is_late(run: Callable[..., Any]) -> None:
    """Reading stops when a second request waits for the first; half of a third may be there already."""

    async def pipelined() -> None:
        server = Server(head_seconds=5)
        server.app.seconds, server.app.reads = 20, False
        guard, wire = server.connect()
        guard.data_received(GET * 2 + GET[:10])
        assert wire.paused
        await asyncio.sleep(21)
        assert not wire.paused
        guard.data_received(GET[10:])
        await asyncio.sleep(41)
        assert told(wire) == [(200, b"")] * 3

    run(pipelined())


@pytest.mark.parametrize("watches", [False, True], ids=["it only works", "it watches the caller"])
def test_of_many_requests_at_once_few_are_read_until_they_are_answered(
    run: Callable[..., Any], watches: bool
) -> None:
    async def flood() -> None:
        server = Server()
        server.app.seconds, server.app.watches = 1, watches
        guard, wire = server.connect()
        guard.data_received(GET * 500)
        guard.data_received(GET * 500)
        most = len(guard.pipeline)
        while wire.said.count(b"HTTP/1.1 200") < 1000:
            assert wire.paused or len(server.app.scopes) == 1000
            await asyncio.sleep(1)
            most = max(most, len(guard.pipeline))
        assert most < 60
        await asyncio.sleep(0.1)
        assert not wire.paused
        guard.data_received(GET)
        await asyncio.sleep(2)
        assert told(wire) == [(200, b"")] * 1001

    run(flood())


def test_who_reads_no_answers_is_not_worked_for(run: Callable[..., Any]) -> None:
    async def deaf() -> None:
        server = Server()
        guard, wire = server.connect()
        guard.pause_writing()
        guard.data_received(GET * 500)
        await asyncio.sleep(0.1)
        assert wire.paused
        assert len(server.app.scopes) == 1
        guard.resume_writing()
        await asyncio.sleep(0.1)
        assert told(wire) == [(200, b"")] * 500

    run(deaf())


def test_who_leaves_is_not_answered_however_many_requests_wait(run: Callable[..., Any]) -> None:
    async def gone() -> None:
        server = Server()
        guard, wire = server.connect()
        guard.pause_writing()
        guard.data_received(GET * 5)
        await asyncio.sleep(0.1)
        wire.close()  # from now on it takes no more, as uvloop's
        guard.connection_lost(ConnectionResetError())
        await asyncio.sleep(0.1)
        assert len(server.app.scopes) == 1
        assert wire.said == b""

    run(gone())


def test_what_is_worked_for_hears_that_its_caller_left_however_many_requests_wait(
    run: Callable[..., Any],
) -> None:
    async def gone() -> None:
        server = Server()
        server.app.seconds, server.app.watches = 1, True
        guard, _ = server.connect()
        guard.data_received(GET * 5)
        await asyncio.sleep(0.1)
        guard.connection_lost(None)
        await asyncio.sleep(5)
        assert server.app.left
        assert len(server.app.scopes) == 1

    run(gone())


@pytest.mark.parametrize(("version", "statuses"), [(b"1.1", [100, 200]), (b"1.0", [200])])
def test_only_who_knows_interim_answers_is_told_to_go_on(
    run: Callable[..., Any], version: bytes, statuses: list[int]
) -> None:
    async def go() -> None:
        guard, wire = Server().connect()
        guard.data_received(
            b"POST /one HTTP/" + version + b"\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        )
        await asyncio.sleep(1)
        guard.data_received(b"x")
        await asyncio.sleep(1)
        assert [answer.status for answer in answers(wire.said)] == statuses

    run(go())


def test_a_body_is_read_while_nothing_waits_behind_it(run: Callable[..., Any]) -> None:
    async def long() -> None:
        guard, wire = Server().connect()
        guard.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
        for _ in range(5):
            guard.data_received(b"x" * 100_000)
            await asyncio.sleep(0.1)
            assert not wire.paused
        assert told(wire) == [(200, b"x" * 500_000)]

    run(long())


def test_an_upgrade_is_one_only_behind_no_other_request(run: Callable[..., Any]) -> None:
    async def pipelined() -> None:
        server = Server()
        server.app.seconds = 1
        guard, wire = server.connect()
        guard.data_received(GET + UPGRADE)
        await until_closed(wire)
        assert told(wire) == [(200, b""), (400, b"malformed_http")]

    run(pipelined())


def test_an_upgrade_behind_a_request_that_was_answered_is_one(run: Callable[..., Any]) -> None:
    async def later() -> None:
        guard, wire = Server().connect()
        guard.data_received(GET)
        await asyncio.sleep(0.1)
        guard.data_received(UPGRADE)
        await asyncio.sleep(0.1)
        assert [status for status, _ in told(wire)] == [200, 101]

    run(later())


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""),
        (b"Host: a", b"Host: xn--99999999"),
        (b"Host: a", b"Host: a\r\nSec-WebSocket-Protocol: \xff"),
        (b"Host: a", b"Host: a\r\nSec-WebSocket-Extensions: a; b=\xff"),
        (b"Host: a", b"Host: a\r\nContent-Length: 5"),
        (b"Host: a", b"Host: a\r\nTransfer-Encoding: chunked"),
    ],
    ids=[
        "a POST",
        "HTTP/1.0",
        "no key",
        "a host in no language",
        "a protocol in no language",
        "an extension in no language",
        "a body",
        "a body in chunks",
    ],
)
def test_a_handshake_that_is_none_is_a_request_that_is_refused(
    run: Callable[..., Any], good: bytes, bad: bytes
) -> None:
    async def refused() -> None:
        server = Server()
        guard, wire = server.connect()
        guard.data_received(UPGRADE.replace(good, bad) + b"hello")
        await until_closed(wire)
        assert told(wire) == [(400, b"malformed_http")]
        assert [scope["path"] for scope in server.app.scopes] == ["/stream"]

    run(refused())


def test_a_version_of_websocket_that_is_not_spoken_here_asks_for_the_one_that_is(
    run: Callable[..., Any],
) -> None:
    async def old() -> None:
        guard, wire = Server().connect()
        guard.data_received(UPGRADE.replace(b"Version: 13", b"Version: 12"))
        await until_closed(wire)
        assert told(wire) == [(400, b"upgrade_required")]

    run(old())


def test_a_refusal_waits_for_its_turn_and_what_follows_is_thrown_away(run: Callable[..., Any]) -> None:
    async def mixed() -> None:
        server = Server()
        server.app.seconds = 1
        guard, wire = server.connect()
        guard.data_received(GET + b"\x00" + GET)
        guard.data_received(GET)
        await until_closed(wire)
        assert told(wire) == [(200, b""), (400, b"malformed_http")]

    run(mixed())


@pytest.mark.parametrize("length", ["5" * 30, "0" * 5000 + "5", "-5", "5 5"], ids="{:.6}".format)
@pytest.mark.parametrize("later", [0, 3], ids=["behind a request", "behind an answer"])
def test_a_length_that_is_none_is_told_to_the_request_that_has_it(
    run: Callable[..., Any], length: str, later: int
) -> None:
    async def behind_another() -> None:
        server = Server()
        server.app.seconds = 1
        guard, wire = server.connect()
        guard.data_received(GET)
        await asyncio.sleep(later)
        bad = f"POST /two HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nhello"
        guard.data_received(bad.encode())
        await until_closed(wire)
        assert told(wire) == [(200, b""), (400, b"malformed_http")]
        assert [scope["path"] for scope in server.app.scopes] == ["/one", "/two"]

    run(behind_another())


def test_a_length_of_thousands_of_digits_is_refused_on_a_connection_of_its_own(
    run: Callable[..., Any],
) -> None:
    async def alone() -> None:
        guard, wire = Server().connect()
        zeros = b"0" * 5000
        guard.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + zeros + b"5\r\n\r\nhello")
        await until_closed(wire)
        assert told(wire) == [(400, b"malformed_http")]

    run(alone())


def test_trailers_are_not_headers(run: Callable[..., Any]) -> None:
    async def trailing() -> None:
        server = Server()
        guard, wire = server.connect()
        guard.data_received(CHUNKED + b"2\r\nab\r\n0\r\nX-API-Key: a\r\n\r\n")
        await asyncio.sleep(0.1)
        assert told(wire) == [(200, b"ab")]
        assert [name for name, _ in server.app.scopes[0]["headers"]] == [b"host", b"transfer-encoding"]

    run(trailing())


def test_small_extensions_of_many_chunks_do_not_add_up(run: Callable[..., Any]) -> None:
    async def signed() -> None:
        guard, wire = Server().connect()
        chunk = b"1;chunk-signature=" + b"5" * 64 + b"\r\nx\r\n"
        guard.data_received(CHUNKED + chunk * 5_000 + b"0\r\n\r\n")
        await asyncio.sleep(0.1)
        assert told(wire) == [(200, b"x" * 5_000)]

    run(signed())


def test_one_address_holds_so_many_connections_and_no_more(run: Callable[..., Any]) -> None:
    async def crowd() -> None:
        server = Server(connections=2)
        first, _ = server.connect()
        server.connect()
        _, refused = server.connect()
        _, other = server.connect("10.0.0.2")
        await asyncio.sleep(0.1)
        assert told(refused) == [(400, b"overloaded")]
        assert refused.is_closing()
        assert not other.is_closing()
        first.connection_lost(None)
        _, next_one = (
            server.connect()
        )  # the refused one is still to be lost, as on a real transport for a moment
        await asyncio.sleep(0.1)
        assert next_one.is_closing()

    run(crowd())


MESSAGES: Sequence[tuple[bytes, list[tuple[int, bytes]]]] = [
    (GET * 3, [(200, b"")] * 3),
    (CHUNKED + b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + GET, [(200, b"hello"), (200, b"")]),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET, [(200, b"hello"), (200, b"")]),
    (GET + b"GET /two HTTP/1.1\r\n\r\n", [(200, b""), (400, b"malformed_http")]),
    (CHUNKED + b"5\r\nhelloXX", [(400, b"malformed_http")]),
    (b"GET /" + b"x" * 80 + b" HTTP/1.1\r\nHost: a\r\n\r\n", [(400, b"uri_too_long")]),
    (GET[:-2] + b"X: y\r\n" * 20 + b"\r\n", [(400, b"headers_too_large")]),
]


@pytest.mark.parametrize(("message", "expected"), MESSAGES, ids=range(len(MESSAGES)))
@given(cuts=st.lists(st.integers(0, 200), max_size=20))
def test_where_the_network_cuts_a_request_changes_nothing(
    message: bytes, expected: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    async def cut() -> None:
        guard, wire = Server(url=60, headers=10).connect()
        edges = [0, *sorted(edge for edge in cuts if edge < len(message)), len(message)]
        for start, end in itertools.pairwise(edges):
            guard.data_received(message[start:end])
            await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        assert told(wire) == expected

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(cut())
