"""Canaries of a model without a task, which is reached by /v2 only: split, fallback, guard, mirror and pre-flight."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from stack import Addresses, create_key
from support.fake_triton import FakeTriton, Request, Response, serving, tensors_config
from support.serving import Serve, until_ready
from tritonclient.grpc import model_config_pb2

ASKED = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]}]}

_numbers = itertools.count()


def behaving(second: Callable[[Request, grpc.aio.ServicerContext], Awaitable[list[float]]]) -> Any:
    """Version 1 doubles what it is given; version 2 answers what `second` says."""

    async def infer(request: Request, context: grpc.aio.ServicerContext) -> Response:
        values = [2 * float(each) for each in np.frombuffer(request.raw_input_contents[0], np.float32)]
        if request.model_version == "2":
            values = await second(request, context)
        found = Response(model_name=request.model_name, model_version=request.model_version, id=request.id)
        found.outputs.add(name="y", datatype="FP32", shape=[1, 2])
        found.raw_output_contents.append(np.array(values, np.float32).tobytes())
        return found

    return infer


async def alike(_: Request, __: grpc.aio.ServicerContext) -> list[float]:
    return [1.0, 2.001]


async def different(_: Request, __: grpc.aio.ServicerContext) -> list[float]:
    return [1.0, 3.0]


async def fails(_: Request, context: grpc.aio.ServicerContext) -> list[float]:
    await context.abort(grpc.StatusCode.INTERNAL, "no")
    raise AssertionError


async def refuses(_: Request, context: grpc.aio.ServicerContext) -> list[float]:
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape")
    raise AssertionError


@dataclass(frozen=True)
class Bench:
    """A model that no other test has used: what is counted of it is this test's. The key is for everything."""

    model: str
    client: httpx.AsyncClient
    triton: FakeTriton
    repository: Path

    @property
    def route(self) -> str:
        return f"/admin/v1/canaries/{self.model}"

    async def put(self, **wanted: object) -> httpx.Response:
        tag = (await self.client.get(self.route)).headers["etag"]
        document = {"stable": "1", "canary": "2", "sticky": "header:X-User-Id", **wanted}
        return await self.client.put(self.route, json=document, headers={"if-match": tag})

    async def infer(self, user: str, **changes: object) -> httpx.Response:
        path = f"/v2/models/{self.model}/infer"
        return await self.client.post(path, json={**ASKED, **changes}, headers={"x-user-id": user})

    async def asked(self, count: int = 20) -> Counter[tuple[int, str]]:
        """Status and variant of the answers to so many users."""
        replies = [await self.infer(f"u{number}") for number in range(count)]
        return Counter((reply.status_code, reply.headers.get("x-model-variant", "")) for reply in replies)

    async def until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The report of which it is true."""
        async with asyncio.timeout(10):
            while not true(report := (await self.client.get(f"{self.route}/report")).json()):
                await asyncio.sleep(0.05)
        return dict(report)


@pytest.fixture(scope="module")
def admin_key(redis: Addresses) -> str:
    return create_key(redis, "operators", "infer", "pin-version", "admin:canary")


@pytest.fixture
async def bench(
    request: pytest.FixtureRequest, serve: Serve, admin_key: str, tmp_path: Path
) -> AsyncIterator[Bench]:
    """With settings of the test's own, where it has some."""
    settings = getattr(request, "param", {})
    name = f"plain{next(_numbers)}"
    message = tensors_config(name, [("x", "FP32", [2])], [("y", "FP32", [2])])
    message.version_policy.CopyFrom(
        model_config_pb2.ModelVersionPolicy(all=model_config_pb2.ModelVersionPolicy.All())
    )
    triton = FakeTriton({name: (message, ["1", "2"])}, infer=behaving(alike))
    async with serving(triton) as url, serve(url, model_repository=tmp_path, **settings) as client:
        await until_ready(client)
        client.headers["x-api-key"] = admin_key
        yield Bench(name, client, triton, tmp_path)


async def test_its_route_is_shown_and_splits_its_callers(bench: Bench) -> None:
    listed = (await bench.client.get("/admin/v1/canaries")).json()["canaries"]
    assert [route["model"] for route in listed] == [bench.model]
    assert (await bench.put(weight=5000)).status_code == 200
    seen = await bench.asked(40)
    assert set(seen) == {(200, "stable"), (200, "canary")}
    assert (await bench.put(weight=10_000)).status_code == 200
    assert await bench.asked() == {(200, "canary"): 20}


@pytest.mark.parametrize("second", [fails, refuses], ids=["fails", "refuses what the stable one takes"])
async def test_the_stable_version_answers_where_the_canary(bench: Bench, second: Any) -> None:
    await bench.put(weight=10_000, guard={"min_requests": 1000})
    bench.triton.infer = behaving(second)
    # A failing canary's breaker opens after five; a refusal may be the caller's fault, and opens nothing.
    assert await bench.asked(4) == {(200, "stable"): 4}
    report = await bench.until(lambda found: found["canary"]["requests"] == 4)
    assert report["canary"]["errors"] == 4
    assert report["stable"]["errors"] == 0


async def test_what_both_versions_refuse_is_the_callers_to_mend(bench: Bench) -> None:
    await bench.put(weight=10_000)

    async def nobody_takes_it(_: Request, context: grpc.aio.ServicerContext) -> Response:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape")
        raise AssertionError

    bench.triton.infer = nobody_takes_it
    assert await bench.asked(3) == {(400, ""): 3}
    bench.triton.infer = behaving(alike)
    await bench.asked(1)
    report = await bench.until(lambda found: found["canary"]["requests"] > 0)
    assert (report["canary"]["requests"], report["canary"]["errors"]) == (1, 0)


async def too_long(_: Request, context: grpc.aio.ServicerContext) -> Response:
    """What ONNX Runtime says of more tokens than a network takes, whichever version that is."""
    await context.abort(grpc.StatusCode.INTERNAL, "onnx runtime error 2: not all dimensions fit")
    raise AssertionError


async def test_requests_that_both_versions_fail_at_take_no_canary_back(bench: Bench) -> None:
    await bench.put(weight=10_000)
    bench.triton.infer = too_long
    for _ in range(10):  # some looks of the guard, at a breaker that is open from the fifth request on
        assert await bench.asked(4) == {(502, ""): 4}
        await asyncio.sleep(0.3)
    report = (await bench.client.get(f"{bench.route}/report")).json()
    assert sum(request.model_version == "2" for request in bench.triton.requests) < 20
    assert [report[side][count] for side in ("stable", "canary") for count in ("requests", "errors")] == [
        0
    ] * 4
    assert (await bench.client.get(bench.route)).json()["phase"] != "rolled-back"


@pytest.mark.parametrize("bench", [{"request_timeout": 0.5}], indirect=True, ids=["half a second each"])
async def test_a_canary_that_runs_out_of_time_has_failed(bench: Bench) -> None:
    await bench.put(weight=10_000, guard={"min_requests": 1000})

    async def hangs(_: Request, __: grpc.aio.ServicerContext) -> list[float]:
        await asyncio.sleep(1)
        return [1.0, 2.0]

    bench.triton.infer = behaving(hangs)
    assert await bench.asked(3) == {(504, ""): 3}
    # A caller who hardly gives it time says nothing about it.
    bench.client.headers["x-request-timeout"] = "50"
    assert await bench.asked(3) == {(504, ""): 3}
    del bench.client.headers["x-request-timeout"]
    bench.triton.infer = behaving(alike)
    assert await bench.asked(1) == {(200, "canary"): 1}
    report = await bench.until(lambda found: found["canary"]["requests"] == 4)
    assert report["canary"]["errors"] == 3


async def test_the_guard_takes_a_canary_back_that_refuses(bench: Bench) -> None:
    await bench.put(weight=5000, guard={"min_requests": 20})
    bench.triton.infer = behaving(refuses)
    started = time.monotonic()
    while (await bench.client.get(bench.route)).json()["phase"] != "rolled-back":
        assert time.monotonic() - started < 20
        assert {status for status, _ in await bench.asked()} == {200}
    assert "failed on the canary" in (await bench.client.get(bench.route)).json()["reason"]


@pytest.mark.parametrize(("second", "agreed"), [(alike, 20), (different, 0)], ids=["alike", "different"])
async def test_mirrored_tensors_are_compared(bench: Bench, second: Any, agreed: int) -> None:
    await bench.put(mirror=10_000, weight=0)
    bench.triton.infer = behaving(second)
    answers = await bench.asked()
    assert answers == {(200, "stable"): 20}
    found = (await bench.until(lambda report: report["agreement"]["compared"] >= 20))["agreement"]
    assert found["agreed"] == agreed
    assert found["classes"]["y"]["agreed"] == agreed
    if not agreed:
        first = found["disagreements"][0]
        assert first["stable"]["outputs"] == [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "first": [1.0, 2.0]}
        ]
        assert first["canary"]["outputs"][0]["first"] == [1.0, 3.0]
        assert found["score_drift"] == pytest.approx(0.5)


async def test_a_mirrored_call_that_the_canary_refuses_counts_against_it(bench: Bench) -> None:
    await bench.put(mirror=10_000, weight=0)
    bench.triton.infer = behaving(refuses)
    await bench.asked(5)
    report = await bench.until(lambda found: sum(found["agreement"]["failed"].values()) == 5)
    assert report["agreement"]["failed"] == {"validation_failed": 5}
    report = await bench.until(lambda found: found["canary"]["errors"] == 5)


async def test_best_classes_as_strings_are_not_mirrored(bench: Bench) -> None:
    await bench.put(mirror=10_000, weight=0)
    await bench.infer("u1", outputs=[{"name": "y", "parameters": {"classification": 1}}])
    await bench.asked(1)
    await bench.until(lambda found: found["agreement"]["compared"] == 1)
    assert sum(request.model_version == "2" for request in bench.triton.requests) == 1


async def test_golden_requests_are_its_preflight(bench: Bench) -> None:
    async def checks() -> tuple[bool, list[str], str]:
        found = (await bench.client.post(f"{bench.route}/check", json={"to": "2"})).json()
        last = found["checks"][-1]
        return found["passed"], [check["name"] for check in found["checks"]][3:], last["detail"]

    assert (await bench.put(canary=None)).status_code == 200  # version 1 where 2 was the default
    assert await checks() == (True, ["the versions answer"], "not asked: golden/ has no requests")
    golden = bench.repository / bench.model / "golden"
    golden.mkdir(parents=True)
    (golden / "one.json").write_text(json.dumps(ASKED))
    both = [f"version {version} answers 1 golden requests" for version in "12"]
    assert await checks() == (True, both, "every answer is valid")
    bench.triton.infer = behaving(refuses)
    passed, _, detail = await checks()
    assert (passed, "one.json" in detail, "unexpected shape" in detail) == (False, True, True)
    refused = await bench.put(weight=100)
    assert (refused.status_code, refused.json()["code"]) == (409, "preflight_failed")
    bench.triton.infer = behaving(alike)
    (golden / "two.json").write_text(
        '{"inputs": [{"name": "z", "datatype": "FP32", "shape": [1], "data": [1]}]}'
    )
    passed, _, detail = await checks()
    assert (passed, detail.startswith("two.json: validation_failed")) == (False, True)
