"""Three gateway workers in two processes on one route: they agree, and what one or the store loses stops nothing.

`pytest -rP` shows the figures.
"""

import asyncio
import json
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import redis as blocking
from processes import Process, running, wait_ready
from stack import free_port, gateway
from support.faulty_stack import log_of
from support.rehearsal import Manner
from support.rollouts import (
    MODEL,
    Callers,
    Line,
    Operator,
    Stage,
    calling,
    lines,
    operating,
    process_behind,
    staged,
    until,
    until_rolled_back,
)

from gateway.canary.lease import KEY as LEASE

TOGGLES = 100
ROUNDS = 40
AGREED = 2.0  # seconds from a change to its last worker
TAKEN_OVER = 5.0  # seconds from the end of the evaluator to the next judgement
VERSIONS = {"1": Manner.SOUND, "2": Manner.SOUND, "3": Manner.FAILING}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("models"), VERSIONS) as rehearsed:
        yield rehearsed


@pytest.fixture
def store(stage: Stage) -> Iterator[Any]:
    at = stage.parts.at
    with blocking.Redis(at.redis_address, port=at.redis_port, decode_responses=True) as client:
        yield client


@pytest.fixture
async def operators(stage: Stage) -> AsyncIterator[tuple[Operator, Operator]]:
    """One at each gateway."""
    async with operating(stage, 0) as one, operating(stage, 1) as other:
        await one.reset()
        yield one, other


async def test_every_worker_follows_a_hundred_toggles_while_subscriptions_break(
    stage: Stage, operators: tuple[Operator, Operator], store: Any
) -> None:
    generation = (await operators[0].route())["generation"]
    took: list[float] = []
    with lines(stage) as workers, subscriptions_cut(store) as cut:
        for number in range(1, TOGGLES + 1):
            reply = await operators[number % 2].attempt(generation, **toggled(number))
            assert reply.status_code == 200, reply.text
            generation = reply.json()["generation"]
            began = time.monotonic()
            assert until_all_follow(workers, number) == {"canary" if number % 2 else "stable"}
            took.append(time.monotonic() - began)
    say(
        f"{TOGGLES} toggles, {sum(cut)} subscriptions cut at {len(cut)} moments: every worker followed after "
        f"{statistics.median(took):.3f} s (median), {max(took):.3f} s (worst)"
    )
    assert sum(cut) >= TOGGLES // 10
    assert max(took) < AGREED


async def test_of_two_operators_at_two_gateways_exactly_one_wins(
    operators: tuple[Operator, Operator],
) -> None:
    generation = (await operators[0].route())["generation"]
    won: Counter[int] = Counter()
    for number in range(ROUNDS):
        wishes = [100 * number + 1, 100 * number + 2]
        replies = await asyncio.gather(
            *(
                operator.attempt(generation, weight=weight)
                for operator, weight in zip(operators, wishes, strict=True)
            )
        )
        assert sorted(reply.status_code for reply in replies) == [200, 412]
        (winner,) = (place for place, reply in enumerate(replies) if reply.status_code == 200)
        for operator in operators:
            route = await operator.route()
            assert (route["generation"], route["weight"]) == (generation + 1, wishes[winner])
        generation += 1
        won[winner] += 1
    say(f"two operators at once, {ROUNDS} rounds: won by the first gateway {won[0]}, by the second {won[1]}")


async def test_routes_outlive_a_store_that_comes_back_empty(
    stage: Stage, operators: tuple[Operator, Operator]
) -> None:
    operator = operators[0]
    steps = [{"weight": 3000, "seconds": 3600}, {"weight": 10_000, "seconds": 3600}]
    before = await operator.put(steps=steps, lives=told(1))
    with lines(stage) as workers:
        variants = until_all_follow(workers, 1)
    async with calling(stage, rate=40, users=[f"user{n}" for n in range(40)]) as callers:
        await asyncio.sleep(1.5)
        stage.parts.redis.stop(signal.SIGKILL)
        await asyncio.sleep(4)
        stage.start_redis()
        took = await until(lambda: stands_as(operator, before), within=10)
        await asyncio.sleep(4)
    with lines(stage) as workers:
        assert until_all_follow(workers, 1) == variants
    say(
        f"store killed, and 4 s later back empty: the route stood in it again after {took:.1f} s; "
        f"{callers.outcomes}"
    )
    assert callers.outcomes.keys() == {"answered"}
    assert movers(callers) == set()
    assert await operator.route() == before
    alarms = stage.log("routes_store_lost")
    assert {alarm["level"] for alarm in alarms} == {"error"}
    assert [MODEL] in [alarm["missing"] for alarm in alarms], "whoever comes first finds it missing"


async def test_another_worker_judges_when_the_evaluator_is_killed(
    stage: Stage, operators: tuple[Operator, Operator], store: Any
) -> None:
    async with calling(stage, rate=80) as callers:
        earlier, began = judged_until(store), time.monotonic()
        await operators[0].put(canary="3", weight=2500)
        await until(lambda: judged_after(store, earlier), within=10)
        holder = await asyncio.to_thread(evaluator, stage, store)
        os.kill(holder, signal.SIGKILL)
        last = judged_until(store)
        alone = await until(lambda: judged_after(store, last), within=TAKEN_OVER)
        found = await until_rolled_back(operators[0], lambda report: report["canary"]["requests"] >= 100)
    say(
        f"evaluator killed: the next judgement came {alone:.1f} s later, the rollback {found.at - began:.1f} s after "
        f"the canary's first call and {found.waited:.1f} s after enough evidence; {callers.outcomes}"
    )
    stage.revive()
    assert found.waited < TAKEN_OVER
    assert "failed on the canary" in found.reason


async def test_a_gateway_without_triton_does_not_keep_the_lease_from_those_that_have_one(
    stage: Stage, store: Any
) -> None:
    at = replace(stage.parts.at, gateway_port=free_port(), triton_grpc_port=free_port())
    with running(gateway(at)) as cut_off:
        wait_ready(f"{at.gateway_url}/livez", cut_off)
        await until(lambda: gets_the_lease(store, cut_off), within=30)
        took = await until(lambda: is_held_by_another(store, cut_off), within=TAKEN_OVER)
    say(f"lease held by a gateway without Triton: another has taken it {took:.1f} s later")


async def gets_the_lease(store: Any, cut_off: Process) -> bool:
    """Nobody holds it for a moment, and so whoever asks first gets it."""
    store.delete(LEASE)
    await asyncio.sleep(0.1)
    return has_it(cut_off)


async def is_held_by_another(store: Any, cut_off: Process) -> bool:
    return store.exists(LEASE) and not has_it(cut_off)


def has_it(process: Process) -> bool:
    """By what it says itself."""
    taken, ended = (len(log_of(process, f"canary_lease_{event}")) for event in ("taken", "ended"))
    return taken > ended


def toggled(number: int) -> dict[str, object]:
    """Everybody to the other version."""
    return {"weight": 10_000 * (number % 2), "lives": told(number)}


def told(number: int) -> dict[str, object]:
    """Lives by which every answer tells which change its worker knows."""
    return {version: {"deprecated_at": number} for version in ("1", "2")}


def until_all_follow(workers: Mapping[int, Line], number: int) -> set[str]:
    """The variants that the workers answer with, once each knows of this change."""
    began = time.monotonic()
    variants: set[str] = set()
    for worker in workers.values():
        while (headers := worker.headers()).get("deprecation") != f"@{number}":
            assert time.monotonic() - began < 10, f"a worker never heard of change {number}"
        variants.add(headers["x-model-variant"])
    return variants


@contextmanager
def subscriptions_cut(store: Any) -> Iterator[list[int]]:
    """At random moments all subscriptions end; answers how many did at each."""
    cut: list[int] = []
    over = threading.Event()
    source = random.Random(4)

    def work() -> None:
        while not over.wait(source.expovariate(1.0)):
            cut.append(store.client_kill_filter(_type="pubsub"))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield cut
    finally:
        over.set()
        thread.join()


async def stands_as(operator: Operator, before: Mapping[str, object]) -> bool:
    try:
        return await operator.route() == before
    except AssertionError:  # nothing can be read yet
        return False


def movers(callers: Callers) -> set[str]:
    """End users whom two versions answered."""
    seen = {(answer.user, answer.version) for answer in callers.answers}
    return {user for user, count in Counter(user for user, _ in seen).items() if count > 1}


def judged_until(store: Any) -> int:
    """The last second that an evaluator has judged."""
    ledger = store.get(f"gw:ledger:{MODEL}")
    return int(json.loads(ledger)["second"]) if ledger else 0


async def judged_after(store: Any, second: int) -> bool:
    return judged_until(store) > second


def evaluator(stage: Stage, store: Any) -> int:
    """The process that holds the lease: whose renewals carry the name that stands in it."""
    with store.monitor() as commands:
        for seen in commands.listen():
            words = seen["command"].split()
            if LEASE in words and store.get(LEASE) in words:
                return process_behind(stage, int(seen["client_port"]), ours=True)
    raise AssertionError("nobody renews the lease")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
