"""Callers that leave at every moment, and a gateway short of files, memory or disk: faults 27 and 31 to 34.

The pool that decodes has threads and no processes, so fault 34 is a worker that runs out of memory, and there is
nothing to kill of it.
"""

import asyncio
import contextlib
import random
import resource
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import orjson
import pytest
from PIL import Image
from processes import Process, running, wait_ready, workers_of
from stack import ROOT, Addresses, Part, free_port, gateway
from support.callers import Replies, answers, client_of, gather, until
from support.faulty_stack import (
    FaultyStack,
    digit_asks,
    faulty_stack,
    frozen,
    log_of,
    metrics_of,
)
from support.hostile import BOUNDARY, form
from support.hostile import Part as FormPart
from support.pictures import encoded, photo
from support.repositories import add_model

LEAVING = 0.3  # of the callers
CALLERS, CALLS = 8, 250
SAMPLE = ROOT / "clients" / "samples" / "digit.png"
FILES = 100


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyStack]:
    folder = tmp_path_factory.mktemp("leave")
    repository = folder / "models"
    add_model(repository, "echo", ["1"])
    (repository / "digits_classifier").symlink_to(ROOT / "model_repository" / "digits_classifier")
    with faulty_stack(repository) as parts:
        yield parts


@dataclass
class Crowd:
    """What many callers saw, each with a number of its own in every request."""

    at: Addresses
    key: str
    seen: Counter[str]

    async def call(self, number: int, draw: random.Random) -> None:
        body = orjson.dumps(
            {
                "id": f"n{number}",
                "inputs": [{"name": "INT64", "datatype": "INT64", "shape": [1, 4], "data": [number] * 4}],
                "outputs": [{"name": "out_INT64"}],
            }
        )
        head = (
            f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: gateway\r\nX-API-Key: {self.key}\r\n"
            f"Content-Type: application/json\r\nX-Request-Id: n{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        reader, writer = await asyncio.open_connection(self.at.gateway_host, self.at.gateway_port)
        try:
            if draw.random() < LEAVING:
                await self._leave(reader, writer, head, body, draw)
            else:
                writer.write(head + body)
                await self._read(reader, number)
        finally:
            writer.transport.abort()

    async def _leave(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        head: bytes,
        body: bytes,
        draw: random.Random,
    ) -> None:
        moment = draw.choice(["in the head", "in the body", "waiting", "in the answer"])
        whole = head + body
        parts = {"in the head": head[: len(head) // 2], "in the body": whole[: len(head) + len(body) // 2]}
        writer.write(parts.get(moment, whole))
        await writer.drain()
        if moment == "in the answer":
            await reader.read(20)
        else:
            await asyncio.sleep(draw.uniform(0, 0.02))
        self.seen[f"left {moment}"] += 1

    async def _read(self, reader: asyncio.StreamReader, number: int) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        answer = orjson.loads(await reader.readexactly(length))
        ours = (
            f"x-request-id: n{number}\r\n" in head
            and answer.get("id") == f"n{number}"
            and answer["outputs"][0]["data"] == [number] * 4
        )
        self.seen["its own answer" if ours else f"not its own: {head[:40]}"] += 1


async def test_31_callers_who_leave_at_any_moment_get_nobody_an_answer_of_another(
    stack: FaultyStack, figure: Callable[[str], None]
) -> None:
    """Promise P17, and that what was taken for a caller who left is given back."""
    crowd = Crowd(stack.parts.at, stack.key, Counter())
    descriptors = stack.descriptors()

    async def caller(place: int) -> None:
        draw = random.Random(place)
        for turn in range(CALLS):
            await crowd.call(place * CALLS + turn, draw)

    await asyncio.gather(*map(caller, range(CALLERS)))
    await until(lambda: stack.metrics().total("gateway_calls_in_flight") == 0)
    await until(lambda: stack.metrics().total("gateway_requests_in_flight") == 0)
    await until(lambda: stack.descriptors() <= descriptors + 30)
    found = stack.metrics()
    left = sum(count for what, count in crowd.seen.items() if what.startswith("left"))
    figure(
        f"31, P17: {crowd.seen.total()} calls, {left} left ({found.total('gateway_requests_total', code='499'):.0f} "
        f"counted as 499), {crowd.seen['its own answer']} got their own answer, "
        f"{crowd.seen.total() - left - crowd.seen['its own answer']} another"
    )
    assert left + crowd.seen["its own answer"] == CALLERS * CALLS, crowd.seen
    assert left > 0.2 * CALLERS * CALLS
    assert found.total("gateway_requests_total", code="499") > 0
    assert found.total("gateway_requests_total", code="500") == 0
    assert stack.triton.popen.poll() is None
    assert log_of(stack.parts.gateway, "internal_error") == []


async def test_27_time_that_jumps_while_the_gateway_is_frozen_ends_calls_and_hangs_none(
    stack: FaultyStack,
) -> None:
    asks = digit_asks(stack.url, stack.key, seconds=1.0)
    async with client_of(stack.url, stack.key) as client:
        before = await gather(client, asks)
        with frozen(stack.parts.gateway):
            waiting = asyncio.create_task(gather(client, asks))
            await asyncio.sleep(3)
        late = await waiting
        after = await gather(client, asks)
    assert before.outcomes == after.outcomes == {"200": len(asks)}
    assert set(late.outcomes) <= {"200", "504 deadline_exceeded", "503 overloaded"}
    assert late.wrong == []
    assert late.slowest < 3 + 1 + 5


def test_32_uploads_need_no_disk(stack: FaultyStack, tmp_path: Path) -> None:
    """Nothing is spooled: a folder for temporary files that cannot be written makes no difference."""
    content = encoded(photo(1600, 1200), "JPEG", quality=95)
    files = [content] * (8_000_000 // len(content))
    with another(stack, environment={"TMPDIR": str(tmp_path / "absent")}) as (at, _):
        answer = httpx.post(
            f"{at.gateway_url}/v1/classify",
            content=form(*(FormPart(file) for file in files)),
            headers={
                "x-api-key": stack.key,
                "content-type": f"multipart/form-data; boundary={BOUNDARY}",
            },
            timeout=30,
            trust_env=False,
        )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["results"]) == len(files)


async def test_33_a_gateway_without_descriptors_left_does_not_spin_and_recovers(
    stack: FaultyStack, figure: Callable[[str], None]
) -> None:
    with another(stack, limit=f"ulimit -n {FILES}") as (at, process), contextlib.ExitStack() as opened:
        (worker,) = workers_of(process)
        for _ in range(2 * FILES):
            with contextlib.suppress(OSError):
                opened.enter_context(socket.create_connection((at.gateway_host, at.gateway_port), timeout=2))
        before = sum(worker.cpu_times()[:2])
        await asyncio.sleep(2)
        share = (sum(worker.cpu_times()[:2]) - before) / 2
        opened.close()
        await until(lambda: answers(f"{at.gateway_url}/readyz"))
        async with client_of(at.gateway_url, stack.key) as client:
            after = await gather(client, digit_asks(at.gateway_url, stack.key))
    figure(
        f"33 {2 * FILES} connections to a gateway with {FILES} descriptors: {share:.0%} of a core meanwhile"
    )
    assert share < 0.5
    assert after.outcomes.keys() == {"200"}


async def test_34_a_worker_without_memory_refuses_what_is_too_large_for_it_and_serves_the_rest(
    stack: FaultyStack, figure: Callable[[str], None]
) -> None:
    large = encoded(Image.new("RGB", (6000, 6000), (10, 20, 30)), "PNG")
    with another(stack, max_image_side=8000) as (at, process):
        asks = digit_asks(at.gateway_url, stack.key)
        async with client_of(at.gateway_url, stack.key) as client:
            most = workers_of(process)[0].memory_info().vms + 60 * 1024 * 1024
            resource.prlimit(process.popen.pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
            refused = await client.post("/v1/classify", content=large)
            meanwhile = await gather(client, asks)
            resource.prlimit(process.popen.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            after = await client.post("/v1/classify", content=large)
            changes = metrics_of(at.gateway_url).total("gateway_requests_total", code="500")
    figure(f"34 an image of 36 MP in a worker without memory: {refused.status_code} {refused.text[:120]}")
    assert refused.status_code in (413, 422, 503)
    assert changes == 0
    assert meanwhile.outcomes.keys() == {"200"}
    assert Replies(meanwhile.all).wrong == []
    assert after.status_code == 200, after.text


@contextmanager
def another(
    stack: FaultyStack, *, environment: dict[str, str] | None = None, limit: str = "", **settings: object
) -> Iterator[tuple[Addresses, Process]]:
    """One more gateway on the same Redis and Triton, under a limit of the shell's."""
    at = replace(stack.parts.at, gateway_port=free_port())
    usual = gateway(at, **settings)
    command = ["sh", "-c", f'{limit or "true"}; exec "$@"', "sh", *usual.command]
    with running(Part("gateway", command, {**usual.environment, **(environment or {})})) as process:
        wait_ready(f"{at.gateway_url}/readyz", process)
        yield at, process
