"""What a wire and a far side can do that no real Triton can be made to: faults 14 to 18, and retries that never storm.

The far side is the fake; each row of the status table, with what the breaker makes of it, is in
tests/unit/upstream/test_status_table.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
import httpx
import numpy as np
import pytest
from PIL import Image
from stack import Addresses
from support.fake_triton import (
    CLASSIFIER,
    Behaviour,
    FakeTriton,
    Request,
    Response,
    answer,
    config,
    failing,
    serving,
)
from support.fake_triton import prefers_the_first_class as well
from support.hostile import assert_problem
from support.pictures import encoded
from support.proxy import Proxy, proxy
from support.serving import served, until_ready
from tritonclient.grpc import service_pb2, service_pb2_grpc

from gateway.upstream.client import _CHANNEL_OPTIONS

PICTURE = encoded(Image.new("L", (8, 8), 100))
SLACK = 1.0  # seconds that a machine which is busy with other things may add
SERVICE = "inference.GRPCInferenceService"


def models() -> FakeTriton:
    return FakeTriton(models={"pets": (config("pets", CLASSIFIER, output=[3]), ["1"])})


@dataclass
class Wire:
    """A gateway in front of the fake, with the proxy between them."""

    client: httpx.AsyncClient
    fake: FakeTriton
    between: Proxy
    heard: list[httpx.Response] = field(default_factory=list)

    async def ask(self, seconds: float = 2.0) -> tuple[httpx.Response, float]:
        began = time.monotonic()
        headers = {"content-type": "image/png", "x-request-timeout": str(round(seconds * 1000))}
        reply = await self.client.post("/v1/classify", content=PICTURE, headers=headers)
        return reply, time.monotonic() - began


@asynccontextmanager
async def wired(
    redis: Addresses, key: str, fake: FakeTriton, where: Callable[[FakeTriton], object] = serving
) -> AsyncIterator[Wire]:
    async with (
        where(fake) as address,  # type: ignore[attr-defined]
        proxy("127.0.0.1", int(address.rpartition(":")[2])) as between,
        served(redis, key, f"127.0.0.1:{between.port}") as client,
    ):
        await until_ready(client)
        yield Wire(client, fake, between)


@pytest.fixture
async def wire(redis: Addresses, caller_key: str) -> AsyncIterator[Wire]:
    async with wired(redis, caller_key, models()) as found:
        yield found


async def test_14_every_status_code_without_a_word_is_a_problem_and_none_is_a_500(wire: Wire) -> None:
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        wire.fake.infer = failing(code, "")
        reply, _ = await wire.ask()
        assert reply.status_code in (502, 503, 504), (code, reply.text)
        assert_problem(reply, reply.status_code, reply.json()["code"])
        assert reply.status_code != 503 or int(reply.headers["retry-after"]) >= 1
        wire.fake.infer = well
        await answered(wire)


async def test_15_an_answer_beyond_all_bounds_is_none(wire: Wire) -> None:
    async def endless(request: Request, _: object) -> Response:
        return answer(request, np.zeros((1, 17 * 1024 * 1024), np.float32))

    wire.fake.infer = endless
    reply, _ = await wire.ask(8.0)
    assert_problem(reply, 502, "upstream_invalid_response")
    wire.fake.infer = well
    await answered(wire)


@pytest.mark.parametrize("cut", [1, 40, 200], ids=["at once", "in the headers", "in the answer"])
async def test_15_a_connection_that_is_cut_while_it_answers_is_tried_once_more_at_most(
    wire: Wire, cut: int
) -> None:
    before = len(wire.fake.requests)
    wire.between.cut_after = cut
    wire.between.cut_all()
    reply, seconds = await wire.ask()
    assert_problem(reply, 503, "upstream_unavailable")
    assert seconds < 2 + SLACK
    assert len(wire.fake.requests) - before <= 2
    wire.between.cut_after = None
    await answered(wire)


async def test_15_a_server_that_says_goodbye_in_the_middle_of_a_call_still_answers_it(
    redis: Addresses, caller_key: str
) -> None:
    """A grpc server that stops with grace sends GOAWAY and ends what it has begun."""
    begun = asyncio.Event()

    async def slow(request: Request, context: grpc.aio.ServicerContext) -> Response:
        begun.set()
        await asyncio.sleep(0.5)
        return await well(request, context)

    fake = models()
    server = grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with served(redis, caller_key, f"127.0.0.1:{port}") as client:
        await until_ready(client)
        fake.infer = slow
        call = asyncio.create_task(Wire(client, fake, Proxy()).ask())
        await begun.wait()
        stopping = asyncio.create_task(server.stop(5))
        reply, _ = await call
        await stopping
        later, _ = await Wire(client, fake, Proxy()).ask()
    assert reply.status_code == 200
    assert_problem(later, 503, "upstream_unavailable")


async def garbage(_: bytes, __: object) -> bytes:
    return b"\xff\xfe\x00 no protobuf at all"


@asynccontextmanager
async def talking_garbage(fake: FakeTriton) -> AsyncIterator[str]:
    """The fake, whose inferences alone are answered with bytes that are no message."""
    handlers = {name: _honest(fake, name) for name in ("RepositoryIndex", "ServerMetadata", "ModelConfig")}
    handlers["ModelInfer"] = grpc.unary_unary_rpc_method_handler(garbage)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def _honest(fake: FakeTriton, name: str) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        getattr(fake, name),
        request_deserializer=getattr(service_pb2, f"{name}Request").FromString,
        response_serializer=getattr(service_pb2, f"{name}Response").SerializeToString,
    )


async def test_16_bytes_that_are_no_message_are_no_answer(redis: Addresses, caller_key: str) -> None:
    async with wired(redis, caller_key, models(), talking_garbage) as wire:
        reply, _ = await wire.ask()
        assert reply.status_code == 502, reply.text
        assert_problem(reply, 502, reply.json()["code"])


async def of_another_version(request: Request, context: grpc.aio.ServicerContext) -> Response:
    reply = await well(request, context)
    reply.model_version = "2"
    return reply


async def of_another_model(request: Request, context: grpc.aio.ServicerContext) -> Response:
    reply = await well(request, context)
    reply.model_name = "cars"
    return reply


@pytest.mark.parametrize("behaviour", [of_another_version, of_another_model])
async def test_16_an_answer_of_somebody_else_is_no_answer(wire: Wire, behaviour: Behaviour) -> None:
    wire.fake.infer = behaviour
    reply, _ = await wire.ask()
    assert_problem(reply, 502, "upstream_invalid_response")


async def test_16_fields_that_nobody_knows_yet_do_no_harm(wire: Wire) -> None:
    async def newer(request: Request, context: grpc.aio.ServicerContext) -> Response:
        known = (await well(request, context)).SerializeToString()
        return Response.FromString(known + b"\xfa\x3e\x03new")  # field 1007, three bytes

    wire.fake.infer = newer
    await answered(wire)


def test_17_no_ping_is_ever_sent_that_a_server_could_take_for_an_attack() -> None:
    """A ping a second makes gRPC servers hang up (too_many_pings), and it does not find a frozen one either."""
    assert [name for name, _ in _CHANNEL_OPTIONS if "keepalive" in name] == []


async def test_18_a_slow_wire_costs_its_delay_and_never_more_than_the_deadline(
    wire: Wire, figure: Callable[[str], None]
) -> None:
    wire.between.delay = 0.2
    reply, late = await wire.ask(5.0)
    assert reply.status_code == 200
    wire.between.delay = 1.0
    reply, refused = await wire.ask(0.3)
    assert_problem(reply, 504, "deadline_exceeded")
    wire.between.delay, wire.between.rate = 0.0, 10_000
    trickled, slowly = await wire.ask(5.0)
    assert trickled.status_code == 200
    figure(f"18 +200 ms: {late:.2f} s; a deadline of 0.3 s: {refused:.2f} s; 10 kB/s: {slowly:.2f} s")
    assert late >= 0.2
    assert refused < 0.3 + SLACK


async def test_18_a_half_open_connection_costs_the_deadline_and_is_used_again(
    wire: Wire, figure: Callable[[str], None]
) -> None:
    wire.between.silent = True
    replies = await asyncio.gather(*(wire.ask(0.5) for _ in range(10)))
    slowest = max(seconds for _, seconds in replies)
    figure(f"18 half-open: ten calls with a deadline of 0.5 s, the slowest took {slowest:.2f} s")
    assert {reply.status_code for reply, _ in replies} <= {503, 504}
    assert slowest < 0.5 + SLACK
    wire.between.silent = False
    await answered(wire)


@pytest.mark.parametrize(
    ("failing_share", "bound"), [(1.0, 1.10), (0.5, 1.20)], ids=["all fail", "half fail"]
)
async def test_retries_do_not_multiply_the_calls(
    wire: Wire, figure: Callable[[str], None], failing_share: float, bound: float
) -> None:
    """Promise P13; of a failure that a second try might mend."""
    broken = failing(grpc.StatusCode.UNAVAILABLE, "recvmsg:Connection reset by peer")

    async def sometimes(request: Request, context: grpc.aio.ServicerContext) -> Response:
        fails = len(wire.fake.requests) % 10 < 10 * failing_share
        return await (broken if fails else well)(request, context)

    before, wire.fake.infer = len(wire.fake.requests), sometimes
    replies = []
    for _ in range(40):
        replies += await asyncio.gather(*(wire.ask() for _ in range(10)))
    calls = (len(wire.fake.requests) - before) / len(replies)
    codes = sorted({reply.status_code for reply, _ in replies})
    figure(f"P13 {failing_share:.0%} of calls fail: {calls:.2f} calls a request, statuses {codes}")
    assert set(codes) <= {200, 503}
    assert calls <= bound


async def answered(wire: Wire, within: float = 15.0) -> None:
    """Returns once a call is answered well; a breaker that opened has its time out first."""
    async with asyncio.timeout(within):
        while (await wire.ask())[0].status_code != 200:
            await asyncio.sleep(0.05)
