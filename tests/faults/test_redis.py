"""Redis killed, frozen, replaced by an empty one, slow or refusing, while callers come all the time: faults 19 to 23.

What each of its errors means to the quotas, on a real Redis, is in tests/integration/test_ratelimit.py, with fault 24
(the slots of a cluster); what it means to the keys, in test_auth_store.py, and to the routes, in test_canary_store.py.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
import redis as blocking
from processes import running, wait_ready
from stack import create_key, free_port, gateway
from support.callers import Ask, Replies, answers, calling, until
from support.faulty_stack import FaultyStack, digit_asks, digits, faulty_stack, frozen, log_of, metrics_of
from support.proxy import Proxy, proxy

from gateway.canary.store import CHANNEL

RATE = 40  # calls a second
WORKERS = 2
AWAY = 3.0  # seconds
OPENED, CLOSED = "rate limits are local: the store does not answer", "rate limits are shared again"
SLACK = 2.0  # seconds that a machine which is busy with other things may add


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyStack]:
    folder = tmp_path_factory.mktemp("redis")
    with faulty_stack(digits(folder / "models"), workers=WORKERS) as parts:
        yield parts


@pytest.fixture(scope="module")
def asks(stack: FaultyStack) -> Sequence[Ask]:
    return digit_asks(stack.url, stack.key)


@pytest.fixture(autouse=True)
async def shared(stack: FaultyStack) -> None:
    """Each test begins with quotas that Redis decides."""
    await until(lambda: answers(f"{stack.url}/readyz"))
    await until(lambda: len(lines(stack, CLOSED)) == len(lines(stack, OPENED)))
    await until(lambda: stack.metrics().total("gateway_fresh", part="limits") >= 1)


async def test_19_a_redis_that_is_killed_fails_nobody_and_21_one_that_comes_back_empty_is_filled_again(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    route = await put_route(stack, weight=0)
    local = stack.metrics().total("gateway_limits_local_total")
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(2)
        stack.redis.stop(signal.SIGKILL)
        died = time.monotonic()
        await asyncio.sleep(AWAY)
        stack.start_redis()
        back = time.monotonic()
        found = await until(lambda: len(lines(stack, CLOSED)) == len(lines(stack, OPENED)))
        await asyncio.sleep(1)
    replies, before, away = Replies(heard), Replies(heard).due(0, died), Replies(heard).due(died, back)
    added = away.latency(0.99) - before.latency(0.99)
    figure(
        f"19, 21 SIGKILL, then empty: {replies.outcomes}; p99 {before.latency(0.99) * 1000:.0f} ms before, "
        f"{away.latency(0.99) * 1000:.0f} ms without; shared again after {found - back:.1f} s"
    )
    assert replies.outcomes.keys() == {"200"}
    assert replies.wrong == []
    assert added < 0.06 + SLACK
    assert stack.metrics().total("gateway_limits_local_total") > local
    assert 1 <= len(lines(stack, OPENED)) <= WORKERS
    await until(lambda: stands(stack, route))


async def test_a_reload_while_redis_is_away_ends_nobody_who_knows_the_keys_and_the_routes(
    stack: FaultyStack, asks: Sequence[Ask]
) -> None:
    route, workers = await put_route(stack, weight=0), stack.workers()
    stack.redis.stop(signal.SIGKILL)
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        stack.parts.gateway.popen.send_signal(signal.SIGHUP)
        await until(lambda: bool(lines(stack, "restart_given_up")))
        await asyncio.sleep(1)
        stack.start_redis()
        await until(lambda: stands(stack, route))
    replies = Replies(heard)
    assert replies.outcomes.keys() == {"200"}
    assert replies.wrong == []
    assert stack.workers() == workers


async def test_20_a_redis_that_is_frozen_costs_five_waits_a_worker_and_then_nothing(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(2)
        with frozen(stack.redis):
            began = time.monotonic()
            await asyncio.sleep(AWAY)
        await asyncio.sleep(1)
    replies = Replies(heard)
    before, opening, while_open = replies.due(0, began), replies.due(began, began + 1), replies.due(began + 1)
    figure(
        f"20 SIGSTOP: {replies.outcomes}; median {before.latency(0.5) * 1000:.1f} ms before and "
        f"{while_open.latency(0.5) * 1000:.1f} ms while it is left alone; slowest of the first second "
        f"{opening.slowest * 1000:.0f} ms"
    )
    assert replies.outcomes.keys() == {"200"}
    assert replies.wrong == []
    assert opening.slowest < before.slowest + 0.05 + SLACK
    assert while_open.latency(0.5) < before.latency(0.5) + 0.04


@pytest.mark.parametrize("command", ["SCRIPT FLUSH", "FLUSHALL", "CONFIG SET maxmemory 100kb"])
async def test_22_a_redis_that_forgets_or_has_no_memory_left_fails_nobody(
    stack: FaultyStack, asks: Sequence[Ask], command: str
) -> None:
    route = await put_route(stack, weight=0)
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(0.5)
        admin(stack).execute_command(command)
        await asyncio.sleep(1.5)
        admin(stack).config_set("maxmemory", 0)
    replies = Replies(heard)
    assert replies.outcomes.keys() == {"200"}
    assert replies.wrong == []
    await until(lambda: stands(stack, route))


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("ACL SETUSER default resetpass >other", "ACL SETUSER default nopass"),
    ],
    ids=["read only", "another password"],
)
async def test_22_a_redis_that_refuses_fails_nobody_and_is_told_of_once(
    stack: FaultyStack, asks: Sequence[Ask], break_it: str, mend_it: str
) -> None:
    opened = len(lines(stack, OPENED))
    operator = admin(stack)
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(0.5)
        operator.execute_command(*break_it.split())
        if "ACL" in break_it:
            operator.client_kill_filter(skipme=True)  # so that everybody has to say the password again
        await until(lambda: len(lines(stack, OPENED)) > opened)
        await asyncio.sleep(1.5)  # a probe is due by then
        operator.execute_command(*mend_it.split())
        await until(lambda: len(lines(stack, CLOSED)) == len(lines(stack, OPENED)))
    replies = Replies(heard)
    assert replies.outcomes.keys() == {"200"}
    assert replies.wrong == []
    assert len(lines(stack, OPENED)) <= opened + WORKERS  # a line a worker that anybody asked


async def test_23_a_redis_that_answers_40_ms_late_is_waited_for_and_18_one_whose_connections_break_is_not(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    # Of so small a quota nothing is taken ahead: each request waits for Redis.
    key = await asyncio.to_thread(create_key, stack.parts.at, "careful", "infer", rate="50/1:50")
    async with behind_a_slow_redis(stack) as (url, between):
        async with calling(url, key, asks, rate=RATE / 2) as heard:
            await asyncio.sleep(2)
            between.delay, slow = 0.04, time.monotonic()
            await asyncio.sleep(2.5)
        between.delay = 0.0
        replies, fast = Replies(heard), Replies(heard).due(0, slow)
        later = replies.due(slow + 0.2)
        changes = metrics_of(url).total("gateway_limits_changes_total", state="open")
        async with calling(url, key, asks, rate=RATE / 2) as cut:
            await asyncio.sleep(0.5)
            between.cut_all()
            await asyncio.sleep(1)
    figure(
        f"23 Redis 40 ms late: {replies.outcomes}; median {fast.latency(0.5) * 1000:.1f} ms before, "
        f"{later.latency(0.5) * 1000:.1f} ms then; all connections cut: {Replies(cut).outcomes}"
    )
    assert replies.outcomes.keys() == {"200"}
    assert 0.03 < later.latency(0.5) - fast.latency(0.5) < 0.3
    assert changes == 0
    assert Replies(cut).outcomes.keys() == {"200"}


async def test_25_hints_that_are_lost_doubled_late_or_nonsense_change_nothing(stack: FaultyStack) -> None:
    """A hint says that something changed and never what: each worker reads the document itself."""
    rubbish = [b"", b"1", b"-5", b"999999999", b"{", b"\xff\xfe", b"digits_classifier"] * 20
    for weight in (5000, 0, 10_000, 0):
        route = await put_route(stack, weight=weight)
        with admin(stack) as store:
            store.client_kill_filter(_type="pubsub")
            for text in rubbish:
                store.publish(CHANNEL, text)
        await until(lambda known=route["generation"]: generations(stack) == {known}, within=5)  # type: ignore[misc]


@asynccontextmanager
async def behind_a_slow_redis(stack: FaultyStack) -> AsyncIterator[tuple[str, Proxy]]:
    """One more gateway, with the proxy between it and Redis."""
    at = stack.parts.at
    async with proxy(at.redis_address, at.redis_port) as between:
        through = replace(at, gateway_port=free_port(), redis_port=between.port)
        with running(gateway(through)) as process:
            await asyncio.to_thread(wait_ready, f"{through.gateway_url}/readyz", process)
            yield through.gateway_url, between


def admin(stack: FaultyStack) -> "blocking.Redis":
    at = stack.parts.at
    return blocking.Redis(at.redis_address, port=at.redis_port, decode_responses=True)


def lines(stack: FaultyStack, event: str) -> list[dict[str, object]]:
    return log_of(stack.parts.gateway, event)


async def put_route(stack: FaultyStack, *, weight: int) -> dict[str, object]:
    """Whatever the route is, it has a new generation."""
    headers = {"x-api-key": stack.parts.admin_key}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=15, trust_env=False) as client:
        tag = (await client.get(ROUTE)).headers["etag"]
        document = {"stable": "1", "canary": "2", "weight": weight}
        reply = await client.put(ROUTE, json=document, headers={"if-match": tag})
    found: dict[str, object] = reply.raise_for_status().json()
    return found


def generations(stack: FaultyStack) -> set[float]:
    """Of the route, as each worker applies it."""
    found = stack.metrics().found("gateway_route_generation", model="digits_classifier")
    assert len(found) == WORKERS
    return {sample.value for sample in found}


def stands(stack: FaultyStack, route: dict[str, object]) -> bool:
    """Whether the store and the gateway have this generation of the route."""
    headers = {"x-api-key": stack.parts.admin_key}
    with contextlib.suppress(httpx.HTTPError):
        reply = httpx.get(f"{stack.url}{ROUTE}", headers=headers, timeout=5, trust_env=False)
        return reply.status_code == httpx.codes.OK and reply.json()["generation"] == route["generation"]
    return False


ROUTE = "/admin/v1/canaries/digits_classifier"
