"""Hosts of images, and names of hosts, that misbehave: each costs its caller seconds at most, and nobody else anything.

Faults 39 and 40, with a real TLS server on loopback; see `support.image_host`.
"""

import asyncio
import contextlib
import gzip
import socket
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from processes import RunningStack
from support.hostile import MIB
from support.image_host import NAME, PUBLIC, Page, Scene, page, redirect, scene
from support.pictures import digit_picture, encoded
from support.serving import served, until_ready

OK = "HTTP/1.1 200 OK"
FAILED, REFUSED = (422, "image_fetch_failed"), (422, "url_not_allowed")
SLACK = 3.0  # seconds that a busy machine may add
DIGIT = encoded(digit_picture())


@contextlib.asynccontextmanager
async def fetching(
    stack: RunningStack, folder: Path, answers: dict[str, Sequence[Any]] | None = None
) -> AsyncIterator[tuple[Scene, httpx.AsyncClient]]:
    """The scene, and a gateway of the stack's Triton and Redis that fetches from all its names."""
    async with (
        scene(folder, answers) as here,
        served(
            stack.at,
            stack.key,
            f"127.0.0.1:{stack.at.triton_grpc_port}",
            outside=here.outside,
            image_hosts=",".join(here.names.answers),
        ) as client,
    ):
        await until_ready(client)
        yield here, client


async def ask(client: httpx.AsyncClient, path: str = "/", name: str = NAME) -> tuple[int, str | None]:
    """The status, and the code of the problem if it is one."""
    answer = await client.post("/v1/classify", json={"inputs": [{"url": f"https://{name}{path}"}]})
    return answer.status_code, answer.json().get("code")


def forever(piece: bytes, pause: float, sent: list[int], *lines: str) -> Page:
    """An answer that never ends; `sent` takes down the size of each piece."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join([OK, *lines, "", ""]).encode())
        while True:
            writer.write(piece)
            await writer.drain()
            sent.append(len(piece))
            await asyncio.sleep(pause)

    return write


async def silence(writer: asyncio.StreamWriter) -> None:
    """Takes the request, and says nothing."""
    await asyncio.sleep(60)


async def headers_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(f"{OK}\r\n".encode())
    while True:
        writer.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


WRONG: dict[str, Page] = {
    "/longer": page(DIGIT[:100], OK, f"Content-Length: {len(DIGIT)}"),
    "/two-lengths": page(DIGIT, OK, f"Content-Length: {len(DIGIT)}", "Content-Length: 5"),
    "/negative-length": page(DIGIT, OK, "Content-Length: -1"),
    "/declared-too-large": page(b"", OK, f"Content-Length: {10 * MIB + 1}"),
    "/gzip": page(gzip.compress(bytes(100 * MIB), 9), OK, "Content-Encoding: gzip"),
    "/brotli": page(DIGIT, OK, "Content-Encoding: br"),
    "/bad-chunk": page(b"xyz\r\n", OK, "Transfer-Encoding: chunked", "X-No-Length: 1"),
    "/no-http": page(b"", "SSH-2.0-OpenSSH_9.6"),
    "/nothing": page(b"", ""),
    "/headers": headers_without_end,
    "/404": page(b"", "HTTP/1.1 404 Not Found"),
    "/switching": page(b"", "HTTP/1.1 101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"),
}


async def test_answers_that_lie_are_no_images(stack: RunningStack, tmp_path: Path) -> None:
    async with fetching(stack, tmp_path) as (here, client):
        here.host.pages |= WRONG
        said = {path: await ask(client, path) for path in WRONG}
    assert {path: answer for path, answer in said.items() if answer != FAILED} == {}


async def test_what_came_whole_is_looked_at_like_any_image(stack: RunningStack, tmp_path: Path) -> None:
    """A length that is too short, or bytes that are no image, are the content's fault."""
    async with fetching(stack, tmp_path) as (here, client):
        here.host.pages |= {
            "/good": page(DIGIT),
            "/shorter": page(DIGIT, OK, f"Content-Length: {len(DIGIT) // 2}"),
            "/zipped": page(gzip.compress(DIGIT)),
            "/empty": page(b""),
        }
        assert await ask(client, "/good") == (200, None)
        assert await ask(client, "/shorter") == (422, "image_truncated")
        assert await ask(client, "/zipped") == (415, "unsupported_image_format")
        assert await ask(client, "/empty") == (422, "image_empty")


async def test_a_body_without_end_is_left_after_ten_megabytes(stack: RunningStack, tmp_path: Path) -> None:
    sent: list[int] = []
    async with fetching(stack, tmp_path) as (here, client):
        chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
        here.host.pages |= {
            "/chunked": forever(chunk, 0, sent, "Transfer-Encoding: chunked"),
            "/until-closed": forever(bytes(65536), 0, sent),
        }
        for path in here.host.pages:
            sent.clear()
            assert await ask(client, path) == FAILED
            assert sum(sent) < 20 * MIB  # what is in the sockets between the two comes on top


async def test_redirects_are_refused_wherever_they_lead(stack: RunningStack, tmp_path: Path) -> None:
    async with fetching(stack, tmp_path) as (here, client):
        here.host.pages |= {
            "/loop": redirect("/loop"),
            "/metadata": redirect("http://169.254.169.254/latest/meta-data/"),
            "/good": redirect(f"https://{NAME}/digit"),
            "/digit": page(DIGIT),
        }
        for path in ("/loop", "/metadata", "/good"):
            assert await ask(client, path) == REFUSED
    assert here.wire.met == [PUBLIC] * 3
    assert here.inside.connections == 0


async def test_slow_hosts_and_slow_names_cost_seconds_and_nobody_else(
    stack: RunningStack, tmp_path: Path
) -> None:
    drip: list[int] = []
    names = {NAME: [[PUBLIC]], "slow.example": [5.0]}
    async with fetching(stack, tmp_path, names) as (here, client):
        here.host.pages |= {
            "/drip": forever(b"x", 0.05, drip, "Content-Length: 1000"),
            "/silent": silence,
            "/digit": page(DIGIT),
        }

        async def timed(path: str, name: str = NAME) -> tuple[tuple[int, str | None], float]:
            began = time.monotonic()
            return await ask(client, path, name), time.monotonic() - began

        paths = ["/drip", "/silent"] * 10
        slow = [asyncio.create_task(timed(path)) for path in paths]
        slow.append(asyncio.create_task(timed("/digit", "slow.example")))
        await asyncio.sleep(0.5)
        for _ in range(5):  # others go on meanwhile, also those whose images are fetched
            assert await ask(client, "/digit") == (200, None)
        assert not any(task.done() for task in slow)
        answers = await asyncio.gather(*slow)
    assert [answer for answer, _ in answers] == [FAILED] * 21
    *hosts, name = [seconds for _, seconds in answers]
    assert all(2.9 < seconds < 3 + SLACK for seconds in hosts)
    assert 1.9 < name < 2 + SLACK - 0.5  # well before the DNS gave up
    assert drip


NOWHERE = socket.gaierror(socket.EAI_NONAME, "no such name")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        pytest.param([NOWHERE], FAILED, id="no such name"),
        pytest.param([socket.gaierror(socket.EAI_AGAIN, "try again")], FAILED, id="a DNS that fails"),
        pytest.param(
            [[PUBLIC, *(f"93.184.216.{last}" for last in range(99))]], (200, None), id="100 addresses"
        ),
        pytest.param(
            [[PUBLIC, *(f"93.184.216.{last}" for last in range(98)), "10.0.0.1"]],
            REFUSED,
            id="100 addresses, of which one is inside",
        ),
        pytest.param([[PUBLIC], ["127.0.0.1"]], (200, None), id="an answer that flips after it was checked"),
        pytest.param([["127.0.0.1"], [PUBLIC]], REFUSED, id="an answer that flips to a good one too late"),
        pytest.param([["93.184.216.1"]], FAILED, id="an address where nobody speaks TLS"),
    ],
)
async def test_names_that_misbehave(
    stack: RunningStack, tmp_path: Path, answers: Sequence[Any], said: tuple[int, str | None]
) -> None:
    async with fetching(stack, tmp_path, {NAME: answers}) as (here, client):
        here.host.pages["/digit"] = page(DIGIT)
        assert await ask(client, "/digit") == said
        assert here.names.asked == [NAME]
    assert here.wire.met in ([], [PUBLIC], ["93.184.216.1"])
