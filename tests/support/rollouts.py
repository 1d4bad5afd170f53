"""Rollouts on the real stack: three gateway workers in two processes, the callers, and the operator who watches."""

import asyncio
import contextlib
import http.client
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psutil
from processes import Process, running, running_stack, wait_ready
from stack import Addresses, free_port, gateway
from support import rehearsal
from support.faulty_stack import FaultyStack, log_of

MODEL = "rehearsal"
END_USER = "X-User-Id"
WORKERS = 3

_PICTURES = [rehearsal.picture(label) for label in range(rehearsal.LABELS)]
_RAW = {"content-type": "image/png"}
# Connections that are idle are given up before the gateway closes them, which would look like an error of its own.
_LIMITS = httpx.Limits(keepalive_expiry=2)


@dataclass
class Stage(FaultyStack):
    """A stack whose gateway has two workers, and one more gateway with one worker on the same Redis and Triton."""

    second: Process
    second_at: Addresses

    @property
    def urls(self) -> tuple[str, str]:
        return self.parts.url, self.second_at.gateway_url

    def revive(self) -> None:
        """Returns when both gateways have all their workers; the first one replaces its own by itself."""
        if self.second.popen.poll() is not None:
            self.second = self.later.enter_context(running(gateway(self.second_at, replicas=2)))
            wait_ready(f"{self.second_at.gateway_url}/readyz", self.second)
        with lines(self):
            pass

    def gateway_processes(self) -> list[psutil.Process]:
        """Those that answer requests, and their supervisor."""
        found = []
        for process in (self.parts.gateway, self.second):
            if process.popen.poll() is None:
                parent = psutil.Process(process.popen.pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    def log(self, event: str) -> list[dict[str, Any]]:
        """The lines of all workers about this event."""
        return [*log_of(self.parts.gateway, event), *log_of(self.second, event)]


@contextmanager
def staged(folder: Path, versions: Mapping[str, rehearsal.Manner]) -> Iterator[Stage]:
    """The model `rehearsal` with these versions, served by all three workers."""
    repository = rehearsal.repository(folder, versions)
    with running_stack(repository, workers=2, replicas=2) as parts:
        at = replace(parts.at, gateway_port=free_port())
        with running(gateway(at, replicas=2)) as second, contextlib.ExitStack() as later:
            wait_ready(f"{at.gateway_url}/readyz", second)
            stage = Stage(parts, repository, parts.triton, parts.redis, later, second, at)
            stage.revive()
            yield stage


class Operator:
    """Whoever has the scope admin:canary, at one of the gateways."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._path = f"/admin/v1/canaries/{MODEL}"

    async def route(self) -> dict[str, Any]:
        return _body(await self._client.get(self._path))

    async def report(self) -> dict[str, Any]:
        return _body(await self._client.get(f"{self._path}/report"))

    async def events(self) -> list[dict[str, Any]]:
        """The newest first."""
        found: list[dict[str, Any]] = _body(await self._client.get(f"{self._path}/events"))["events"]
        return found

    async def attempt(self, generation: int, **wanted: object) -> httpx.Response:
        """A PUT that changes this generation; the canary is version 2 where nothing else is said."""
        document = {"stable": "1", "canary": "2", "sticky": f"header:{END_USER}", **wanted}
        return await self._client.put(self._path, json=document, headers={"if-match": f'"{generation}"'})

    async def put(self, **wanted: object) -> dict[str, Any]:
        """The route as wanted, whatever it is."""
        return _body(await self.attempt((await self.route())["generation"], **wanted))

    async def reset(self) -> None:
        """Back to the default route, version 1 for everybody."""
        tag = f'"{(await self.route())["generation"]}"'
        reply = await self._client.delete(self._path, headers={"if-match": tag})
        assert reply.status_code == 204, reply.text


@asynccontextmanager
async def operating(stage: Stage, place: int = 0) -> AsyncIterator[Operator]:
    """An operator at the first or the second gateway."""
    headers = {"x-api-key": stage.parts.admin_key}
    async with httpx.AsyncClient(
        base_url=stage.urls[place], headers=headers, timeout=15, trust_env=False
    ) as client:
        yield Operator(client)


class Answer(NamedTuple):
    """What one caller saw. `due` is monotonic, when it was meant to call; `error` is a problem's code, '' of none."""

    due: float
    user: str
    error: str
    version: str = ""
    variant: str = ""
    right: bool = False


@dataclass
class Callers:
    """An open loop: whoever is due calls, however many are still waiting."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def error_share(self) -> float:
        return sum(bool(answer.error) for answer in self.answers) / len(self.answers)

    @property
    def wrong_share(self) -> float:
        return sum(not answer.right for answer in self.answers) / len(self.answers)

    @property
    def outcomes(self) -> dict[str, int]:
        """How often each error was answered, and "answered" for those that were none."""
        return dict(Counter(answer.error or "answered" for answer in self.answers))

    def served_since(self, moment: float) -> set[tuple[str, str]]:
        """Version and variant of the answers to those who were due from then on."""
        return {
            (answer.version, answer.variant)
            for answer in self.answers
            if answer.due >= moment and not answer.error
        }


@asynccontextmanager
async def calling(stage: Stage, *, rate: float, users: Sequence[str] | None = None) -> AsyncIterator[Callers]:
    """So many calls a second to both gateways by turns, while the block lasts; it ends when all are answered.

    Each call is another end user's, or they take turns where `users` are given.
    """
    callers = Callers()
    headers = {"x-api-key": stage.parts.key, **_RAW}
    async with contextlib.AsyncExitStack() as clients, asyncio.TaskGroup() as under_way:
        gateways = [
            await clients.enter_async_context(
                httpx.AsyncClient(base_url=url, headers=headers, timeout=15, trust_env=False, limits=_LIMITS)
            )
            for url in stage.urls
        ]

        async def call(number: int, due: float) -> None:
            user = users[number % len(users)] if users else f"u{number}"
            label = number % rehearsal.LABELS
            client = gateways[number % len(gateways)]
            callers.answers.append(await _ask(client, due, user, label))

        async def call_when_due() -> None:
            began, number = time.monotonic(), 0
            while True:
                due = began + number / rate
                await asyncio.sleep(due - time.monotonic())
                under_way.create_task(call(number, due))
                number += 1

        schedule = asyncio.create_task(call_when_due())
        try:
            yield callers
        finally:
            schedule.cancel()


async def ask(stage: Stage, picture: bytes, **headers: str) -> httpx.Response:
    """One call to the first gateway."""
    async with httpx.AsyncClient(base_url=stage.urls[0], timeout=15, trust_env=False) as client:
        return await client.post(
            _target(), content=picture, headers={"x-api-key": stage.parts.key, **_RAW, **headers}
        )


async def _ask(client: httpx.AsyncClient, due: float, user: str, label: int) -> Answer:
    try:
        reply = await client.post(_target(), content=_PICTURES[label], headers={END_USER: user})
    except httpx.HTTPError as error:
        return Answer(due, user, type(error).__name__)
    if reply.status_code != httpx.codes.OK:
        return Answer(due, user, reply.json()["code"])
    best = reply.json()["results"][0]["predictions"][0]["label"]
    version, variant = reply.headers["x-model-version"], reply.headers["x-model-variant"]
    return Answer(due, user, "", version, variant, right=best == str(label))


class Line:
    """A connection to one certain worker, which is kept open."""

    def __init__(self, connection: http.client.HTTPConnection, key: str) -> None:
        self._connection = connection
        self._headers = {"x-api-key": key, **_RAW, END_USER: "somebody"}

    def headers(self) -> Mapping[str, str]:
        """Of an answer of this worker; their names are in lower case."""
        self._connection.request("POST", _target(), body=_PICTURES[0], headers=self._headers)
        reply = self._connection.getresponse()
        body = reply.read()
        assert reply.status == httpx.codes.OK, body
        return {name.lower(): value for name, value in reply.getheaders()}

    def close(self) -> None:
        self._connection.close()


@contextmanager
def lines(stage: Stage) -> Iterator[Mapping[int, Line]]:
    """One line to every worker of both gateways, by process id."""
    found: dict[int, Line] = {}
    spare: list[Line] = []
    end = time.monotonic() + 20
    while len(found) < WORKERS:
        assert time.monotonic() < end, f"only the workers {list(found)} take connections"
        for url in stage.urls:
            at = httpx.URL(url)
            connection = http.client.HTTPConnection(at.host, at.port or 80, timeout=10)
            line = Line(connection, stage.parts.key)
            line.headers()
            owner = process_behind(stage, connection.sock.getsockname()[1])
            if owner in found:
                spare.append(line)
            else:
                found[owner] = line
    try:
        yield found
    finally:
        for line in [*found.values(), *spare]:
            line.close()


def process_behind(stage: Stage, port: int, *, ours: bool = False) -> int:
    """Which gateway process talks to this port, or, with `ours`, from it."""
    for process in stage.gateway_processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            for end in process.net_connections("tcp"):
                address = end.laddr if ours else end.raddr
                if address and address.port == port and end.status == psutil.CONN_ESTABLISHED:
                    return process.pid
    raise AssertionError(f"no gateway process is at the end of port {port}")


@dataclass(frozen=True)
class Rollback:
    """`waited` are the seconds from enough evidence, as the report showed it, until everybody was back."""

    waited: float
    at: float
    reason: str


async def until_rolled_back(
    operator: Operator, enough: Callable[[dict[str, Any]], bool], within: float = 40
) -> Rollback:
    """Watches until the guard has acted."""
    evident: float | None = None
    async with asyncio.timeout(within):
        while True:
            report, route = await asyncio.gather(operator.report(), operator.route())
            now = time.monotonic()
            if route["phase"] == "rolled-back":
                return Rollback(now - (evident or now), now, route["reason"])
            evident = evident or (now if enough(report) else None)
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], Awaitable[bool]], within: float) -> float:
    """The seconds that it took to come true; fails after `within`."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < within, f"not within {within} s"
        await asyncio.sleep(0.05)
    return time.monotonic() - began


def _target() -> str:
    return f"/v1/classify?model={MODEL}"


def _body(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == httpx.codes.OK, reply.text
    body: dict[str, Any] = reply.json()
    return body
