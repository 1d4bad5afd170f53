"""Rollouts end to end: a real Triton, three gateway workers in two processes, and callers all the time.

`pytest -rP` shows the figures.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from support import rehearsal
from support.rehearsal import Manner
from support.rollouts import (
    Callers,
    Operator,
    Stage,
    ask,
    calling,
    operating,
    staged,
    until,
    until_rolled_back,
)

RATE = 80  # calls a second
SOUND, FAILING, SLOW, SHUFFLED, MORTAL = "2", "3", "4", "5", "6"
VERSIONS = {
    "1": Manner.SOUND,
    SOUND: Manner.SOUND,
    FAILING: Manner.FAILING,
    SLOW: Manner.SLOW,
    SHUFFLED: Manner.SHUFFLED,
    MORTAL: Manner.MORTAL,
}
PROMPT = 5.0  # seconds from the evidence to the rollback
AWAY = 6.0  # seconds without Triton
TOLERABLE = 0.01  # of the callers may see an error

Report = dict[str, Any]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("models"), VERSIONS) as rehearsed:
        yield rehearsed


@pytest.fixture
async def operator(stage: Stage) -> AsyncIterator[Operator]:
    async with operating(stage) as found:
        await found.reset()
        yield found


def answered(report: Report) -> bool:
    """Whether the canary has answered the `min_requests` of a guard that nobody changed."""
    return bool(report["canary"]["requests"] >= 100)


def compared(report: Report) -> bool:
    """The same of `min_compared`."""
    return bool(report["agreement"]["compared"] >= 50)


@pytest.mark.parametrize(
    ("canary", "wanted", "enough", "reason"),
    [
        pytest.param(
            FAILING, {"weight": 2500}, answered, "failed on the canary", id="it fails every tenth call"
        ),
        pytest.param(SLOW, {"weight": 2500}, answered, "p95", id="it takes four times as long"),
        pytest.param(
            SHUFFLED,
            {"weight": 1000, "mirror": 10_000, "guard": {"min_agreement": 0.9}},
            compared,
            "answers agree",
            id="it is healthy and gives wrong answers",
        ),
    ],
)
async def test_a_bad_canary_is_rolled_back_in_time_and_hardly_a_caller_notices(
    stage: Stage,
    operator: Operator,
    canary: str,
    wanted: dict[str, object],
    enough: Callable[[Report], bool],
    reason: str,
) -> None:
    async with calling(stage, rate=RATE) as callers:
        began = time.monotonic()
        await operator.put(canary=canary, **wanted)
        found = await until_rolled_back(operator, enough)
        await asyncio.sleep(2)
    say(
        f"version {canary}: rolled back {found.at - began:.1f} s after its first call and {found.waited:.1f} s after "
        f"enough evidence; {callers.outcomes}, "
        f"{callers.wrong_share:.2%} wrong answers. {found.reason}"
    )
    assert found.waited < PROMPT
    assert reason in found.reason
    assert callers.error_share <= TOLERABLE
    assert any(answer.version == canary for answer in callers.answers)
    assert callers.served_since(found.at + 1) == {("1", "stable")}


async def test_a_canary_whose_process_dies_is_spared_at_once_and_rolled_back(
    stage: Stage, operator: Operator
) -> None:
    async with calling(stage, rate=RATE) as callers:
        await operator.put(canary=MORTAL, weight=2500)
        await until(lambda: seen(operator), within=10)
        died = time.monotonic()
        answer = await ask(stage, rehearsal.fatal_picture(), **{"x-canary": "always"})
        assert (answer.status_code, answer.headers["x-model-version"]) == (200, "1")
        found = await until_rolled_back(operator, answered)
        await asyncio.sleep(2)
    say(
        f"dead process: rolled back {found.at - died:.1f} s after its end; {callers.outcomes}. {found.reason}"
    )
    assert found.at - died < PROMPT
    assert found.reason.startswith("The canary's breaker is open: ")
    assert callers.error_share <= TOLERABLE
    assert callers.served_since(died + 1) == {("1", "stable")}
    assert stage.log("canary_rolled_back")[-1]["cause"] == "breaker"


async def test_an_equal_canary_goes_through_all_steps_to_the_end_with_no_operator(
    stage: Stage, operator: Operator
) -> None:
    weights = [1000, 2500, 5000, 10_000]
    steps = [{"weight": weight, "seconds": 2, "min_requests": 20} for weight in weights]
    async with calling(stage, rate=RATE) as callers:
        began = await operator.put(canary=SOUND, steps=steps, guard={"min_requests": 20})
        took = await until(lambda: promoted(operator), within=60)
        promoted_at = time.monotonic()
        await asyncio.sleep(2)
    changes = [event for event in await operator.events() if event["generation"] >= began["generation"]]
    say(f"equal canary: promoted after {took:.1f} s; {callers.outcomes}")
    assert [(event["action"], event["after"]["weight"]) for event in reversed(changes)] == [
        ("put", 1000),
        ("advance", 2500),
        ("advance", 5000),
        ("advance", 10_000),
        ("promote", 0),
    ]
    assert {event["actor"] for event in changes[:-1]} == {"guard"}
    assert callers.error_share <= TOLERABLE
    assert callers.wrong_share == callers.error_share
    assert callers.served_since(promoted_at + 1) == {(SOUND, "stable")}


async def test_a_triton_that_ends_and_comes_back_takes_no_sound_canary_back(
    stage: Stage, operator: Operator
) -> None:
    weight = 9000  # most calls are the canary's, so its breaker is the one that is felt
    async with calling(stage, rate=RATE) as callers:
        await operator.put(canary=SOUND, weight=weight)
        await until(lambda: seen(operator), within=20)
        stage.end_triton()
        await asyncio.sleep(AWAY)
        back = await stage.start_triton()
        await until(lambda: served_by_both(callers, back), within=30)
        await asyncio.sleep(5)  # some looks of the guard at all of it
    route = await operator.route()
    say(f"weight {weight}: {callers.outcomes}; {route['reason']}")
    assert callers.outcomes.keys() > {"answered"}  # it was away
    assert (route["weight"], route["phase"]) == (weight, "steady")


async def served_by_both(callers: Callers, since: float) -> bool:
    return {version for version, _ in callers.served_since(since)} == {"1", SOUND}


async def promoted(operator: Operator) -> bool:
    route = await operator.route()
    assert route["phase"] in ("progressing", "promoted"), route["reason"]
    return bool(route["phase"] == "promoted")


async def seen(operator: Operator) -> bool:
    """Whether the canary has answered anybody."""
    return bool((await operator.report())["canary"]["requests"] >= 10)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
