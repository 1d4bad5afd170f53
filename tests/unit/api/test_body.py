"""What is held in memory of bodies is counted: all together, and what each tenant has of it."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.body import BodyReader
from gateway.api.context import Context, HttpRequest, KnownRequest, attach
from gateway.domain import Principal, Priority
from gateway.errors import BodyTooLarge, Overloaded
from gateway.http.arrival import handed_over
from gateway.telemetry.timeline import Timeline

BODY = b"a" * 100
ALL = pytest.raises(Overloaded, match="Too many bodies")
YOURS = pytest.raises(Overloaded, match="Too many of your bodies")


@pytest.fixture
def bodies() -> BodyReader:
    """With room for four bodies, of which a tenant has two."""
    return BodyReader(limit=100, budget=400, seconds=1)


def request(tenant: str, body: bytes = BODY) -> HttpRequest:
    scope: Any = {"type": "http", "headers": []}
    caller = Principal("id", tenant, frozenset(), None, "standard", Priority.STANDARD)
    attach(scope, Context("id", 0.0, Timeline(lambda: 0.0), principal=caller))

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return KnownRequest(scope, receive)


def test_what_a_tenant_holds_beside_its_bodies_counts_as_its_own(bodies: BodyReader) -> None:
    with bodies.holding("a", 200):
        with YOURS, bodies.holding("a", 1):
            pass
        with bodies.holding("b", 200), ALL, bodies.holding("c", 1):
            pass
    with bodies.holding("a", 200):
        pass


async def test_bodies_and_what_is_held_beside_them_share_a_tenants_half(bodies: BodyReader) -> None:
    with bodies.holding("a", 150):
        with YOURS:
            async with bodies.read(request("a")):
                pass
        async with bodies.read(request("b")) as body:
            assert body == BODY


async def test_what_a_body_was_unpacked_into_counts_in_its_place(bodies: BodyReader) -> None:
    packed = gzip.compress(bytes(200))
    reading = bodies.read(request("a", packed))
    async with reading:
        reading.become(bytes(200))
        with YOURS, bodies.holding("a", 1):
            pass
        with bodies.holding("b", 200):
            pass
    with bodies.holding("a", 200), bodies.holding("b", 200):
        pass


async def test_what_is_unpacked_into_too_much_leaves_nothing_counted(bodies: BodyReader) -> None:
    reading = bodies.read(request("a"))
    with YOURS:
        async with reading:
            reading.become(bytes(201))
    with bodies.holding("a", 200), bodies.holding("b", 200):
        pass


def arriving(tenant: str, pieces: Iterable[bytes]) -> HttpRequest:
    """A request whose server hands over what is taken of it, and tells the rest as messages."""
    asked = request(tenant)
    rest = iter(pieces)

    def message(piece: bytes) -> Any:
        return {"type": "http.request", "body": piece, "more_body": True}

    async def receive() -> Any:
        await asyncio.sleep(0)
        for piece in rest:
            if "state" not in asked.scope or not handed_over(asked.scope, piece):
                return message(piece)
        return {**message(b""), "more_body": False}

    return KnownRequest(asked.scope, receive)


@given(st.lists(st.integers(0, 9_000), max_size=20))
async def test_pieces_of_whatever_sizes_make_the_body(sizes: list[int]) -> None:
    bodies = BodyReader(limit=200_000, budget=400_000, seconds=1)
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    async with bodies.read(arriving("a", pieces)) as body:
        assert body == b"".join(pieces)
    with bodies.holding("a", 200_000), bodies.holding("b", 200_000):
        pass


async def test_many_small_pieces_take_no_more_memory_than_they_count_for() -> None:
    bodies = BodyReader(limit=200_000, budget=400_000, seconds=5)
    pieces = (b"%d" % (number % 90 + 10) for number in range(100_000))
    tracemalloc.start()
    try:
        async with bodies.read(arriving("a", pieces)) as body:
            _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) == 200_000
    assert most < 1_500_000  # the pieces themselves, each an object of Python's, would be 3.5 MB


@pytest.mark.parametrize(("pieces", "error"), [([60, 60], BodyTooLarge), ([100], Overloaded)])
async def test_a_piece_that_has_no_room_is_refused_and_leaves_nothing_counted(
    bodies: BodyReader, pieces: list[int], error: type[Exception]
) -> None:
    with bodies.holding("a", 101):
        with pytest.raises(error):
            async with bodies.read(arriving("b" if error is BodyTooLarge else "a", list(map(bytes, pieces)))):
                pass
        with bodies.holding("b", 200), bodies.holding("a", 99):
            pass


async def test_a_body_that_was_refused_is_not_taken_when_there_is_room_after_all(bodies: BodyReader) -> None:
    """Its pieces are thrown away while its caller still sends, and meanwhile others end."""
    with bodies.holding("a", 200):
        held = bodies.holding("b", 200)
        held.__enter__()
        reading = bodies.read(_ending(arriving("c", [b"one", b"two"]), held))
        with ALL:
            async with reading:
                pass


def _ending(asked: HttpRequest, held: Any) -> HttpRequest:
    """The request, with another one's bytes given back after its first message."""

    async def messages() -> Any:
        yield await asked.receive()
        held.__exit__(None, None, None)
        while True:
            yield await asked.receive()

    following = messages()
    return KnownRequest(asked.scope, lambda: anext(following))
