"""What is held in memory of bodies is counted: all together, and what each tenant has of it."""

import gzip
from typing import Any

import pytest

from gateway.api.body import BodyReader
from gateway.api.context import Context, HttpRequest, KnownRequest, attach
from gateway.domain import Principal, Priority
from gateway.errors import Overloaded
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
