"""A body's pieces, as the guard hands them over or tells them as ASGI has it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.transport import Wire
from support.virtual_time import VirtualLoop
from support.wire import answers
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.http import Guard, StreamGuard, arriving

PIECES = [b"%d;" % number * 400 for number in range(1, 9)]
HEAD = b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(b"".join(PIECES))


class Collector:
    """Answers with the body, of which it takes what `takes` says yes to."""

    def __init__(self, takes: Callable[[bytes], bool]) -> None:
        self._takes = takes
        self.body = b""
        self.messages: list[bytes] = []
        self.taken: list[bytes] = []

    async def __call__(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if await self._next(receive):
            with arriving(scope, self._take):
                while await self._next(receive):
                    pass
        length = (b"content-length", str(len(self.body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": self.body})

    async def _next(self, receive: Callable[[], Awaitable[Any]]) -> bool:
        message = await receive()
        self.body += message["body"]
        self.messages.append(message["body"])
        return bool(message["more_body"])

    def _take(self, piece: bytes) -> bool:
        if not self._takes(piece):
            return False
        self.body += piece
        self.taken.append(piece)
        return True


@pytest.fixture
def run() -> Iterator[Callable[..., Any]]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        yield runner.run


def connected(collector: Collector) -> tuple[Guard, Wire]:
    config = Config(collector, http=Guard, lifespan="off", log_config=None, ws=StreamGuard)
    config.load()
    guard, wire = Guard(config, ServerState(), {}), Wire()
    guard.connection_made(wire)
    return guard, wire


async def sent(collector: Collector, *received: bytes) -> Wire:
    """What a caller gets whose pieces arrive one after the other, each when the one before is worked off."""
    guard, wire = connected(collector)
    for data in received:
        guard.data_received(data)
        await asyncio.sleep(0.01)
    return wire


def test_all_but_the_first_piece_are_handed_over(run: Callable[..., Any]) -> None:
    collector = Collector(lambda _: True)
    wire = run(sent(collector, HEAD + PIECES[0], *PIECES[1:]))
    assert [answer.body for answer in answers(wire.said)] == [b"".join(PIECES)]
    assert (collector.messages, collector.taken) == ([PIECES[0], b""], PIECES[1:])


def test_what_is_handed_over_never_pauses_the_reading(run: Callable[..., Any]) -> None:
    large = bytes(200_000)
    head = HEAD.replace(str(len(b"".join(PIECES))).encode(), b"400000")
    collector = Collector(lambda _: True)
    wire = run(sent(collector, head, b"1" + large[1:], large[1:]))
    assert not wire.paused
    assert len(collector.body) == 399_999


def test_what_follows_a_piece_that_was_not_taken_does_not_overtake_it(run: Callable[..., Any]) -> None:
    collector = Collector(lambda piece: piece != PIECES[3])
    wire = run(sent(collector, HEAD + PIECES[0], *PIECES[1:]))
    assert [answer.body for answer in answers(wire.said)] == [b"".join(PIECES)]
    assert collector.taken == PIECES[1:3]


def test_a_body_that_comes_in_chunks_is_handed_over_as_well(run: Callable[..., Any]) -> None:
    collector = Collector(lambda _: True)
    head = b"POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in PIECES]
    wire = run(sent(collector, head + framed[0], *framed[1:], b"0\r\n\r\n"))
    assert [answer.body for answer in answers(wire.said)] == [b"".join(PIECES)]
    assert collector.taken == PIECES[1:]


def test_of_a_body_in_chunks_no_more_is_read_in_the_same_turn(run: Callable[..., Any]) -> None:
    """Chunks of a byte cost much more than a body that tells its length: others need their turn between them."""

    async def tiny() -> None:
        guard, wire = connected(Collector(lambda _: True))
        guard.data_received(b"POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            guard.data_received(b"1\r\na\r\n" * 1000)
            assert wire.paused
            await asyncio.sleep(0.01)
            assert not wire.paused
        guard.data_received(b"0\r\n\r\n")
        await asyncio.sleep(0.01)
        assert [answer.body for answer in answers(wire.said)] == [b"a" * 3000]

    run(tiny())


def test_the_next_request_on_the_connection_has_its_own_pieces(run: Callable[..., Any]) -> None:
    collector = Collector(lambda _: True)
    run(sent(collector, HEAD + PIECES[0], *PIECES[1:], HEAD, b"".join(PIECES)))
    assert collector.body == b"".join(PIECES) * 2
