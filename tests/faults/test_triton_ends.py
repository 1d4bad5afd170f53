"""Triton killed, frozen, stopped, late and in a crash loop, while callers come all the time: faults 1 to 5."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from processes import running, wait_listening
from stack import free_port, gateway
from support.callers import Ask, Replies, Reply, answers, calling, client_of, gather, settled, until
from support.faulty_stack import FaultyStack, digit_asks, digits, faulty_stack, frozen

RATE = 40  # calls a second
DEADLINE = 1.0
SLACK = 2.0  # seconds that a machine which is busy with other things may add; alone it is 0.05
AWAY = 4.0  # seconds without Triton
ROUNDS = 2  # of the crash loop
POOLED = 30  # connections that a worker may keep for later; a leak of one a call would be hundreds


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyStack]:
    folder = tmp_path_factory.mktemp("ends")
    with faulty_stack(digits(folder / "models"), workers=2) as parts:
        yield parts


@pytest.fixture(scope="module")
def asks(stack: FaultyStack) -> Sequence[Ask]:
    return digit_asks(stack.url, stack.key, seconds=DEADLINE)


async def test_1_a_triton_that_is_killed_is_a_fast_and_honest_failure_and_is_found_again(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(2)
        stack.triton.stop(signal.SIGKILL)
        died = time.monotonic()
        await asyncio.sleep(AWAY)
        ready = await stack.start_triton()
        calm = await settled(heard, ready)
        await asyncio.sleep(1)
    replies, away = Replies(heard), Replies(heard).due(died, ready)
    refusals = away.due(died + 1, died + AWAY - 0.5)  # while the next one starts, it has the machine's cores
    back = first_good(replies, ready) - ready
    figure(
        f"1 SIGKILL: {len(away)} calls without Triton: {away.outcomes}; slowest {replies.slowest:.3f} s, "
        f"p99 of refusals {refusals.latency(0.99) * 1000:.0f} ms; first answer {back:.2f} s after Triton was ready; "
        f"wrong {len(replies.wrong)}"
    )
    honest(replies)
    assert away.failed.outcomes.keys() <= {
        "503 upstream_unavailable",
        "503 overloaded",
        "503 upstream_draining",
    }
    assert all(reply.retry_after for reply in away.failed.all)
    assert replies.slowest < DEADLINE + SLACK
    assert refusals.latency(0.5) < 0.2
    assert back < 2 + SLACK
    recovered(replies.due(calm))


async def test_2_a_triton_that_is_frozen_holds_no_caller_beyond_its_deadline(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(2)
        with frozen(stack.triton):
            began = time.monotonic()
            await asyncio.sleep(AWAY)
        thawed = time.monotonic()
        calm = await settled(heard, thawed)
        await asyncio.sleep(1)
    replies, meanwhile = Replies(heard), Replies(heard).due(began, thawed)
    back = first_good(replies, thawed) - thawed
    await until(lambda: stack.metrics().total("gateway_calls_in_flight") == 0)
    figure(
        f"2 SIGSTOP: {len(meanwhile)} calls meanwhile: {meanwhile.outcomes}; slowest {replies.slowest:.3f} s of a "
        f"deadline of {DEADLINE} s; first answer {back:.2f} s after it went on; wrong {len(replies.wrong)}"
    )
    honest(replies)
    assert {reply.status for reply in meanwhile.failed.all} <= {503, 504}
    assert meanwhile.failed.all
    assert replies.slowest < DEADLINE + SLACK
    assert back < 2 + SLACK
    recovered(replies.due(calm))


async def test_3_a_triton_that_is_stopped_loses_nothing_that_was_accepted_and_no_model_is_said_to_be_unknown(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        await asyncio.sleep(2)
        stack.triton.popen.send_signal(signal.SIGTERM)
        told = time.monotonic()
        await asyncio.to_thread(stack.triton.popen.wait, 60)
        ended = time.monotonic()
        ready = await stack.start_triton()
        calm = await settled(heard, ready)
        await asyncio.sleep(1)
    replies, draining = Replies(heard), Replies(heard).due(told, ended)
    accepted = Replies([r for r in replies.all if r.due < told - 0.2])
    figure(
        f"3 SIGTERM: {len(draining)} calls in the {ended - told:.1f} s of its end: {draining.outcomes}; 404: "
        f"{sum(r.status == 404 for r in replies.all)}; first answer {first_good(replies, ready) - ready:.2f} s after "
        f"the next one was ready; wrong {len(replies.wrong)}"
    )
    honest(replies)
    assert accepted.failed.all == []
    assert {reply.status for reply in replies.failed.all} <= {503, 504}
    assert first_good(replies, ready) - ready < 2 + SLACK
    recovered(replies.due(calm))


async def test_4_a_gateway_that_starts_before_triton_lives_is_not_ready_and_serves_once_triton_does(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    stack.triton.stop(signal.SIGKILL)
    at = replace(stack.parts.at, gateway_port=free_port())
    with running(gateway(at)):
        wait_listening(at.gateway_host, at.gateway_port, seconds=60)
        await until(lambda: answers(f"{at.gateway_url}/livez"))
        async with client_of(at.gateway_url, stack.key) as client:
            assert (await client.get("/readyz")).status_code == 503
            early = await gather(client, [asks[0]])
            assert early.outcomes.keys() <= {"503 upstream_unavailable", "503 model_unavailable"}, early
            ready = await stack.start_triton()
            found = await until(lambda: answers(f"{at.gateway_url}/readyz"))
            late = await gather(client, asks)
        figure(
            f"4 Triton after the gateway: ready {found - ready:.2f} s after Triton; before: {early.outcomes}"
        )
        assert found - ready < 2 + SLACK
        recovered(late)


async def test_5_a_crash_loop_costs_no_wrong_answer_no_storm_and_no_descriptor(
    stack: FaultyStack, asks: Sequence[Ask], figure: Callable[[str], None]
) -> None:
    await until(lambda: answers(f"{stack.url}/readyz"))
    descriptors = stack.descriptors()
    async with calling(stack.url, stack.key, asks, rate=RATE) as heard:
        for _ in range(ROUNDS):
            await asyncio.sleep(1)
            stack.triton.stop(signal.SIGKILL)
            await asyncio.sleep(1)
            ready = await stack.start_triton()
        calm = await settled(heard, ready)
        await asyncio.sleep(1)
    replies = Replies(heard)
    left = stack.descriptors()
    back = first_good(replies, ready) - ready
    figure(
        f"5 crash loop, {ROUNDS} times: {replies.outcomes}; descriptors {descriptors} before, {left} after; first "
        f"answer {back:.2f} s after the last was ready; wrong {len(replies.wrong)}"
    )
    honest(replies)
    assert {reply.status for reply in replies.failed.all} <= {503, 504}
    assert back < 2 + SLACK
    recovered(replies.due(calm))
    await until(lambda: stack.descriptors() <= descriptors + POOLED)


def first_good(replies: Replies, since: float) -> float:
    """When the first answer came to somebody who was due since then, on the monotonic clock."""
    return min((reply.answered_at for reply in replies.good.due(since).all), default=float("inf"))


def honest(replies: Replies) -> None:
    """No answer is wrong, none is a 500 or a 404, and everybody got one."""
    assert replies.wrong == []
    odd = [reply for reply in replies.failed.all if not is_honest(reply)]
    assert odd == []


def is_honest(reply: Reply) -> bool:
    return reply.status in (502, 503, 504) and reply.code not in ("", "not a problem")


def recovered(replies: Replies) -> None:
    """Both workers serve; a call or two that a busy machine makes late are forgiven."""
    assert len(replies.good) > 0.9 * len(replies), replies.outcomes
