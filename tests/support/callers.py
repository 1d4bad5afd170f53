"""Callers in an open loop: each calls when it is due, however many still wait, and what it is told is held against
the answer that its picture gets while nothing is wrong.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx
from figures import percentile

NOTHING = 0  # in place of a status: the connection broke, or no answer came
_PATIENCE = 20.0  # seconds
# Connections that are idle are given up before the gateway closes them, which would look like an error of its own.
_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=200, keepalive_expiry=2)


@dataclass(frozen=True)
class Ask:
    """One picture, and its right label by version. `seconds` is the deadline that the caller asks for."""

    path: str
    content: bytes
    labels: Mapping[str, str]
    seconds: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict)


class Reply(NamedTuple):
    """`due` is monotonic: when the call was sent, which on a busy machine may be later than it was planned. `seconds`
    count from then. `code` is a problem's, or the name of the client's error.
    """

    due: float
    seconds: float
    status: int
    code: str = ""
    version: str = ""
    label: str = ""
    right: bool = False
    retry_after: str = ""

    @property
    def answered_at(self) -> float:
        return self.due + self.seconds


@dataclass(frozen=True)
class Replies:
    """What all of them heard, in the order of the answers."""

    all: Sequence[Reply]

    def due(self, begin: float, end: float = math.inf) -> "Replies":
        return Replies([reply for reply in self.all if begin <= reply.due < end])

    def told(self, *codes: str) -> "Replies":
        return Replies([reply for reply in self.all if reply.code in codes])

    @property
    def good(self) -> "Replies":
        return Replies([reply for reply in self.all if reply.status == httpx.codes.OK])

    @property
    def failed(self) -> "Replies":
        return Replies([reply for reply in self.all if reply.status != httpx.codes.OK])

    @property
    def wrong(self) -> list[Reply]:
        """Answers that are not those of the version which they name."""
        return [reply for reply in self.good.all if not reply.right]

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each status and code was answered."""
        return dict(Counter(f"{reply.status} {reply.code}".strip() for reply in self.all).most_common())

    @property
    def slowest(self) -> float:
        return max((reply.seconds for reply in self.all), default=math.nan)

    def latency(self, share: float) -> float:
        return percentile((reply.seconds for reply in self.all), share)

    def __len__(self) -> int:
        return len(self.all)


@asynccontextmanager
async def calling(url: str, key: str, asks: Sequence[Ask], *, rate: float) -> AsyncIterator[list[Reply]]:
    """So many calls a second, the asks by turns, while the block lasts; it ends when all are answered."""
    heard: list[Reply] = []
    async with client_of(url, key) as client, asyncio.TaskGroup() as under_way:

        async def call(ask: Ask) -> None:
            heard.append(await one(client, ask))

        async def call_when_due() -> None:
            began, number = time.monotonic(), 0
            while True:
                due = began + number / rate
                await asyncio.sleep(due - time.monotonic())
                under_way.create_task(call(asks[number % len(asks)]))
                number += 1

        schedule = asyncio.create_task(call_when_due())
        try:
            yield heard
        finally:
            schedule.cancel()


def client_of(url: str, key: str) -> httpx.AsyncClient:
    headers = {"x-api-key": key, "content-type": "image/png"}
    return httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_PATIENCE, trust_env=False, limits=_LIMITS
    )


async def one(client: httpx.AsyncClient, ask: Ask) -> Reply:
    due = time.monotonic()
    headers = {"x-request-timeout": str(round(ask.seconds * 1000)), **ask.headers}
    try:
        reply = await client.post(ask.path, content=ask.content, headers=headers)
    except httpx.HTTPError as error:
        return Reply(due, time.monotonic() - due, NOTHING, type(error).__name__)
    seconds = time.monotonic() - due
    if reply.status_code != httpx.codes.OK:
        told = reply.headers["content-type"] == "application/problem+json"
        code = reply.json()["code"] if told else "not a problem"
        return Reply(due, seconds, reply.status_code, code, retry_after=reply.headers.get("retry-after", ""))
    label = reply.json()["results"][0]["predictions"][0]["label"]
    version = reply.headers["x-model-version"]
    right = ask.labels.get(version) == label
    return Reply(due, seconds, reply.status_code, version=version, label=label, right=right)


async def gather(client: httpx.AsyncClient, asks: Iterable[Ask]) -> Replies:
    """All of them at once."""
    return Replies(await asyncio.gather(*(one(client, ask) for ask in asks)))


async def settled(heard: Sequence[Reply], since: float, count: int = 40, within: float = 30) -> float:
    """When the first of so many in a row was due that were all answered, of those who were due since then."""

    def good() -> bool:
        last = sorted(reply for reply in heard if reply.due >= since)[-count:]
        return len(last) == count and all(reply.status == httpx.codes.OK for reply in last)

    await until(good, within)
    return sorted(reply for reply in heard if reply.due >= since)[-count].due


async def until(condition: Callable[[], bool], within: float = 20, pause: float = 0.02) -> float:
    """When it came true, on the monotonic clock; fails after so many seconds."""
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, f"it did not come to pass within {within} s"
        await asyncio.sleep(pause)
    return time.monotonic()


def answers(url: str) -> bool:
    """Whether it answers 200 at this moment."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    return False
