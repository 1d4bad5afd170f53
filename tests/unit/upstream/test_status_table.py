"""Each way that a call can end: what the caller gets, whether it is tried again, and what the breaker makes of it."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from support.fake_triton import Behaviour, FakeTriton, Request, Response, answer, failing, serving

from gateway.api.problems import KINDS
from gateway.domain import (
    Deadline,
    InferCall,
    ModelVersion,
    Priority,
    ServedModel,
    Tensor,
    TensorSpec,
    Variant,
)
from gateway.errors import GatewayError, OutOfService
from gateway.upstream import Balancer, Breakers, Endpoints, GuardedTriton, Replicas, RetryBudget

Code = grpc.StatusCode
CANARY = ModelVersion("pets", "2", Variant.CANARY)
MODEL = ServedModel(
    "pets",
    ("1", "2"),
    4,
    (TensorSpec("images", "UINT8", (3, 8, 8)),),
    (TensorSpec("scores", "FP32", (3,)),),
    {},
)
EJECTED, FAILED, NEUTRAL = 1, 5, None  # calls until the breaker opens


@dataclass
class Row:
    """What Triton does, and what has to come of it."""

    behaviour: Behaviour
    status: int
    code: str
    opens_after: int | None
    retry_after: float | None = None
    calls: int = 1
    seconds: float = 5.0


def says(code: grpc.StatusCode, message: str = "") -> Behaviour:
    return failing(code, message)


async def answers_an_empty_tensor(request: Request, _: object) -> Response:
    response = answer(request, np.zeros((1, 3), np.float32))
    response.raw_output_contents[0] = b""
    return response


async def answers_for_another_version(request: Request, _: object) -> Response:
    response = answer(request, np.zeros((1, 3), np.float32))
    response.model_version = "1"
    return response


async def answers_later(_: Request, __: object) -> Response:
    await asyncio.sleep(30)
    raise AssertionError("the deadline came first")


UNKNOWN_MODEL = "Request for unknown model: 'pets' version 2 has no available versions"
ROWS = {
    "OK with an empty tensor": Row(answers_an_empty_tensor, 502, "upstream_invalid_response", FAILED),
    "OK from another version": Row(answers_for_another_version, 502, "upstream_invalid_response", FAILED),
    "the connection is refused": Row(
        says(Code.UNAVAILABLE, "failed to connect to all addresses"),
        503,
        "upstream_unavailable",
        FAILED,
        1,
        calls=2,
    ),
    "the stream breaks": Row(
        says(Code.UNAVAILABLE, "Stream removed"), 503, "upstream_unavailable", FAILED, 1, calls=2
    ),
    "the connection is reset": Row(
        says(Code.UNAVAILABLE, "recvmsg:Connection reset by peer"),
        503,
        "upstream_unavailable",
        FAILED,
        1,
        calls=2,
    ),
    "GOAWAY": Row(says(Code.UNAVAILABLE, "GOAWAY received"), 503, "upstream_unavailable", FAILED, 1, calls=2),
    "the queue is full": Row(
        says(Code.UNAVAILABLE, "[request id: 7] Exceeds maximum queue size"),
        503,
        "upstream_overloaded",
        NEUTRAL,
        1,
    ),
    "it expired in the queue": Row(
        says(Code.UNAVAILABLE, "[request id: 7] Request timeout expired"), 504, "deadline_exceeded", NEUTRAL
    ),
    "the server is stopping": Row(
        says(Code.UNAVAILABLE, "Server is stopping, scheduler"), 503, "upstream_draining", EJECTED, 2
    ),
    "the server is exiting": Row(
        says(Code.UNAVAILABLE, "Server exiting"), 503, "upstream_draining", EJECTED, 2
    ),
    "gRPC is shutting down": Row(
        says(Code.UNAVAILABLE, "GRPC server is shutting down"), 503, "upstream_draining", EJECTED, 2
    ),
    "the server is not ready": Row(
        says(Code.UNAVAILABLE, "Server not ready"), 503, "model_unavailable", FAILED, 2
    ),
    "the version is not ready": Row(
        says(Code.UNAVAILABLE, "Request for unknown model: 'pets' version 2 is not at ready state"),
        503,
        "model_unavailable",
        FAILED,
        2,
    ),
    "the restricted key is wrong": Row(
        says(Code.UNAVAILABLE, "This protocol is restricted, expecting header 'k'"),
        502,
        "gateway_misconfigured",
        NEUTRAL,
    ),
    "UNAVAILABLE for another reason": Row(
        says(Code.UNAVAILABLE, "words nobody has seen"), 503, "model_unavailable", FAILED, 1
    ),
    "the deadline passes": Row(answers_later, 504, "deadline_exceeded", FAILED, seconds=0.2),
    "the model is not known": Row(says(Code.NOT_FOUND, UNKNOWN_MODEL), 503, "model_unavailable", FAILED, 2),
    "it refuses our tensor": Row(
        says(Code.INVALID_ARGUMENT, "unexpected shape for input"), 502, "upstream_contract_violation", NEUTRAL
    ),
    "the backend process died": Row(
        says(Code.INTERNAL, "Stub process 'pets_0_0' is not healthy."), 503, "model_unavailable", EJECTED, 2
    ),
    "the model raises": Row(
        says(Code.INTERNAL, "ValueError at /models/pets/2/model.py:7"), 502, "upstream_error", FAILED
    ),
    **{
        code.name: Row(says(code, "x"), 502, "upstream_error", FAILED)
        for code in (
            Code.UNKNOWN,
            Code.DATA_LOSS,
            Code.ABORTED,
            Code.ALREADY_EXISTS,
            Code.FAILED_PRECONDITION,
            Code.OUT_OF_RANGE,
        )
    },
    "the RPC does not exist": Row(
        says(Code.UNIMPLEMENTED, "decoupled"), 502, "upstream_contract_violation", NEUTRAL
    ),
    "we send too much": Row(
        says(Code.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max"), 413, "body_too_large", NEUTRAL
    ),
    "it sends too much": Row(
        says(Code.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max"),
        502,
        "upstream_invalid_response",
        FAILED,
    ),
    "the server ran out of something": Row(
        says(Code.RESOURCE_EXHAUSTED, "no memory"), 503, "upstream_overloaded", NEUTRAL, 1
    ),
    "it does not know us": Row(says(Code.UNAUTHENTICATED), 502, "gateway_misconfigured", NEUTRAL),
    "it does not let us": Row(says(Code.PERMISSION_DENIED), 502, "gateway_misconfigured", NEUTRAL),
    "the server cancels": Row(says(Code.CANCELLED), 503, "upstream_unavailable", NEUTRAL, 1),
}


@asynccontextmanager
async def guarded(url: str) -> AsyncIterator[GuardedTriton]:
    async with Replicas(Endpoints(url), clock=time.monotonic) as replicas:
        breakers = Breakers(clock=time.monotonic, uniform=random.uniform)
        yield GuardedTriton(
            Balancer(replicas, breakers, draw=random.random),
            RetryBudget(uniform=lambda low, _: low),
            clock=time.monotonic,
        )


def call(seconds: float) -> InferCall:
    images = Tensor("images", np.zeros((1, 3, 8, 8), np.uint8))
    deadline = Deadline(time.monotonic() + seconds)
    return InferCall(CANARY, MODEL, [images], deadline, Priority.STANDARD, "request-1", usual=0.2)


async def failure(upstream: GuardedTriton, seconds: float = 5.0) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await upstream.infer(call(seconds))
    return caught.value


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_what_the_caller_gets(row: Row) -> None:
    triton = FakeTriton(infer=row.behaviour)
    async with serving(triton) as url, guarded(url) as upstream:
        error = await failure(upstream, row.seconds)
    assert (KINDS[error.code].status, error.code) == (row.status, row.code)
    assert error.retry_after == row.retry_after
    assert (row.retry_after is not None) == (row.status == 503)
    assert len(triton.requests) == row.calls


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
async def test_what_the_breaker_makes_of_it(row: Row) -> None:
    triton = FakeTriton(infer=row.behaviour)
    async with serving(triton) as url, guarded(url) as upstream:
        for _ in range(FAILED + 2):
            error = await failure(upstream, row.seconds)
            if isinstance(error, OutOfService):
                break
    assert isinstance(error, OutOfService) == (row.opens_after is not NEUTRAL)
    assert len(triton.requests) == (row.opens_after or FAILED + 2)


def test_every_status_code_of_grpc_has_a_row() -> None:
    async def code_of(row: Row) -> grpc.StatusCode | None:
        triton = FakeTriton(infer=row.behaviour)
        async with serving(triton) as url, guarded(url) as upstream:
            internal = (await failure(upstream, row.seconds)).internal
        return next((code for code in Code if internal.startswith(f"{code.name}:")), None)

    async def codes() -> set[grpc.StatusCode | None]:
        return set(await asyncio.gather(*map(code_of, ROWS.values())))

    assert set(Code) - {Code.OK} <= asyncio.run(codes())


async def test_a_server_that_nobody_started_is_a_connection_that_failed() -> None:
    async with serving(FakeTriton()) as url:
        pass
    async with guarded(url) as upstream:
        error = await failure(upstream)
    assert (error.code, error.retry_after) == ("upstream_unavailable", 1)


async def test_a_second_call_mends_a_connection_that_broke_once() -> None:
    triton = FakeTriton()

    async def breaks_once(request: Request, context: grpc.aio.ServicerContext) -> Response:
        if len(triton.requests) == 1:
            await context.abort(Code.UNAVAILABLE, "Socket closed")
        return answer(request, np.array([[0.5, 0.3, 0.2]], np.float32))

    triton.infer = breaks_once
    async with serving(triton) as url, guarded(url) as upstream:
        outputs = await upstream.infer(call(5.0))
    assert outputs["scores"].tolist() == [pytest.approx([0.5, 0.3, 0.2])]
    assert len(triton.requests) == 2


async def test_an_open_breaker_refuses_at_once_and_says_for_how_long() -> None:
    triton = FakeTriton(infer=says(Code.UNAVAILABLE, "Server exiting"))
    async with serving(triton) as url, guarded(url) as upstream:
        upstream.check(CANARY)
        await failure(upstream)
        with pytest.raises(OutOfService) as refused:
            upstream.check(CANARY)
    assert 0 < (refused.value.retry_after or 0) <= 0.6
    assert len(triton.requests) == 1
