"""Models that raise, lie, sleep, are full, are loaded again or taken away while they serve: faults 7 to 13.

Fault 6, a backend process that dies, is in tests/integration/test_rollouts.py (a canary is spared at once) and
test_model_control.py (the healer).
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc
from PIL import Image
from processes import running, wait_ready
from stack import Addresses, Part, create_key, free_addresses, triton
from support.callers import Ask, Replies, calling, client_of, gather, until
from support.faulty_stack import FaultyStack, faulty_stack
from support.hostile import assert_problem
from support.pictures import encoded
from support.repositories import add_model
from support.serving import served, until_ready

RAISES, REFUSES, SHORT, NOT_A_NUMBER, INFINITE, EMPTY, NAMED_OTHERWISE, ABOVE_ONE, SLEEPS = range(1, 10)
QUARTERS = (32, 96, 160, 224)
WHERE = "/v1/classify?model=faulty&top_k=1"
RATE = 40
QUEUE = 4
PNG = {"content-type": "image/png"}


def flat(gray: int) -> bytes:
    return encoded(Image.new("L", (4, 4), gray))


def sound(seconds: float = 2.0, where: str = WHERE) -> list[Ask]:
    """One picture of each class; both versions answer alike."""
    return [
        Ask(where, flat(gray), {v: str(label) for v in ("1", "2")}, seconds)
        for label, gray in enumerate(QUARTERS)
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    add_model(folder, "faulty", ["1"])
    add_model(folder, "faulty", ["1", "2"], name="leaving")
    config = add_model(folder, "levels", ["1"], name="full") / "config.pbtxt"
    config.write_text(config.read_text().replace("max_queue_size: 64", f"max_queue_size: {QUEUE}"))
    return folder


@pytest.fixture(scope="module")
def stack(repository: Path) -> Iterator[FaultyStack]:
    with faulty_stack(repository) as parts:
        yield parts


@pytest.fixture(scope="module")
def control(stack: FaultyStack) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{stack.parts.at.triton_grpc_port}") as client:
        yield client


@pytest.mark.parametrize("gray", [RAISES, REFUSES], ids=["it raises", "it answers with an error"])
async def test_7_an_error_of_the_model_tells_the_caller_nothing_of_its_inside(
    stack: FaultyStack, gray: int
) -> None:
    with stack.parts.client() as http:
        answer = http.post(WHERE, content=flat(gray), headers=PNG)
    assert_problem(answer, 502, "upstream_error")
    assert "secret" not in answer.text
    assert "/" not in answer.json()["detail"]
    await until(lambda: "secret text" in stack.parts.gateway.log.read_text())


@pytest.mark.parametrize(
    "gray",
    [SHORT, NOT_A_NUMBER, INFINITE, EMPTY, NAMED_OTHERWISE, ABOVE_ONE],
    ids=["too few scores", "NaN", "infinite", "no bytes", "another output", "no probabilities"],
)
def test_8_an_answer_that_says_ok_and_is_none_is_never_a_200(stack: FaultyStack, gray: int) -> None:
    with stack.parts.client() as http:
        answer = http.post(WHERE, content=flat(gray), headers=PNG)
        assert_problem(answer, 502, "upstream_invalid_response")
        good = http.post(WHERE, content=flat(QUARTERS[3]), headers=PNG)
    assert good.json()["results"][0]["predictions"][0]["label"] == "3"


async def test_9_calls_that_sleep_cost_their_own_callers_the_deadline_and_nobody_else(
    stack: FaultyStack, figure: Callable[[str], None]
) -> None:
    deadline = 0.6
    asks = [*sound(deadline) * 5]
    asks[7] = Ask(WHERE, flat(SLEEPS), {}, deadline)  # one in twenty
    async with calling(stack.url, stack.key, asks, rate=20) as heard:
        await asyncio.sleep(5)
    replies = Replies(heard)
    slow = replies.told("deadline_exceeded")
    figure(
        f"9 one call in twenty sleeps: {replies.outcomes}; the others' p99 {replies.good.latency(0.99):.3f} s, "
        f"the sleepers' slowest {slow.slowest:.3f} s of {deadline} s"
    )
    assert replies.outcomes.keys() == {"200", "504 deadline_exceeded"}
    assert len(slow) >= 4
    assert slow.latency(0.5) < deadline + 0.5
    assert replies.wrong == []
    assert len(replies.good) > 0.8 * len(replies)  # 0.95 where the machine does nothing else
    assert replies.good.latency(0.5) < deadline / 2


async def test_10_what_a_full_queue_refuses_is_refused_at_once_and_not_tried_again(
    stack: FaultyStack, figure: Callable[[str], None]
) -> None:
    """Twelve calls of 0.4 s to one instance with a queue of four."""
    retries = stack.metrics().total("gateway_retries_total")
    ask = Ask("/v1/classify?model=full&top_k=1", flat(40), {}, 8.0)
    async with client_of(stack.url, stack.key) as client:
        replies = await gather(client, [ask] * 12)
    refused = replies.told("upstream_overloaded")
    figure(f"10 queue of {QUEUE} full: {replies.outcomes}; slowest refusal {refused.slowest:.3f} s")
    # One that runs and those that wait; a queue that is being filled and emptied counts one more or less.
    assert QUEUE <= len(replies.good) <= QUEUE + 2
    assert len(replies.good) + len(refused) == 12
    assert {(reply.status, reply.retry_after) for reply in refused.all} == {(503, "1")}
    assert refused.slowest < replies.good.slowest
    assert stack.metrics().total("gateway_retries_total") == retries


async def test_11_a_canary_version_that_is_taken_away_costs_no_caller_an_answer(
    stack: FaultyStack,
    repository: Path,
    control: tritonclient.grpc.InferenceServerClient,
    figure: Callable[[str], None],
) -> None:
    route = {"stable": "1", "canary": "2", "weight": 5000, "sticky": "header:X-User-Id"}
    async with httpx.AsyncClient(base_url=stack.url, headers={"x-api-key": stack.parts.admin_key}) as admin:
        path = "/admin/v1/canaries/leaving"
        tag = (await admin.get(path)).headers["etag"]
        put = await admin.put(path, json=route, headers={"if-match": tag})
        assert put.status_code == 200, put.text
    asks = [
        Ask(ask.path, ask.content, ask.labels, ask.seconds, {"x-user-id": f"u{n}"})
        for n, ask in enumerate(sound(where="/v1/classify?model=leaving&top_k=1") * 10)
    ]
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(1.5)
        shutil.rmtree(repository / "leaving" / "2")
        await asyncio.to_thread(control.load_model, "leaving")
        gone = time.monotonic()
        await asyncio.sleep(2)
    replies = Replies(heard)
    served_by = {reply.version for reply in replies.due(gone + 0.2).good.all}
    figure(f"11 the canary's version unloaded: {replies.outcomes}; afterwards by version {served_by}")
    assert replies.wrong == []
    assert replies.outcomes.keys() <= {"200", "503 model_unavailable"}
    assert len(replies.failed) <= 0.02 * len(replies)
    assert {reply.version for reply in replies.due(0, gone - 0.5).all} == {"1", "2"}
    assert served_by == {"1"}


async def test_12_a_model_that_is_loaded_again_under_load_serves_meanwhile(
    stack: FaultyStack,
    repository: Path,
    control: tritonclient.grpc.InferenceServerClient,
    figure: Callable[[str], None],
) -> None:
    async with calling(stack.url, stack.key, sound(), rate=RATE) as heard:
        await asyncio.sleep(1)
        os.utime(repository / "faulty" / "1" / "model.py")  # what has not changed, Triton does not load
        began = time.monotonic()
        await asyncio.to_thread(control.load_model, "faulty")
        took = time.monotonic() - began
        await asyncio.sleep(1)
    replies = Replies(heard)
    figure(f"12 loaded again within {took:.1f} s: {replies.outcomes}; slowest {replies.slowest:.3f} s")
    assert replies.wrong == []
    # While new processes start on a busy machine, calls stall; what would wait beyond its deadline is refused.
    assert replies.outcomes.keys() <= {"200", "503 overloaded", "504 deadline_exceeded"}
    assert len(replies.good) > 0.8 * len(replies)


async def test_13_a_triton_that_refuses_the_gateway_is_a_fault_of_the_deployment_and_not_tried_again(
    redis: Addresses, repository: Path
) -> None:
    at = free_addresses()
    usual = triton(at, repository)
    closed = [*usual.command, "--", "--grpc-restricted-protocol=inference:closed=word"]
    with running(Part("triton", closed, usual.environment)) as process:
        wait_ready(f"http://127.0.0.1:{at.triton_http_port}/v2/health/ready", process)
        key = create_key(redis, "tests", "infer")
        async with served(redis, key, f"127.0.0.1:{at.triton_grpc_port}") as client:
            await until_ready(client)
            for _ in range(7):  # more than open a breaker
                answer = await client.post(WHERE, content=flat(32), headers=PNG)
                assert_problem(answer, 502, "gateway_misconfigured")
            assert "closed" not in answer.text
            assert "gateway_retries_total{" not in (await client.get("/metrics")).text
