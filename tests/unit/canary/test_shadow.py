"""Mirrored calls: what is mirrored and what is dropped, what is found, and that nobody ever waits for one.

Time is virtual, and admission is the real one.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable, Sequence
from hashlib import sha256
from itertools import chain, repeat
from typing import Any

import pytest
import structlog.testing
from support.virtual_time import VirtualLoop
from unit.canary.answers import classes, comparison, disagreement

from gateway.admission import Admission, GatePolicy, LimitPolicy, Outcome
from gateway.canary.compare import Result
from gateway.canary.comparison import ClassTally
from gateway.canary.report import SAMPLES, Journal, Report, Versions, of_comparison, to_document
from gateway.canary.shadow import Dropped, Mirror, MirrorPolicy, Original
from gateway.domain import Deadline, Priority
from gateway.errors import (
    BackendDied,
    ConnectionFailed,
    DeadlineExceeded,
    ImageTruncated,
    OutOfService,
    Overloaded,
    QueueTimeout,
    UpstreamFailed,
    UpstreamInvalidResponse,
    UpstreamOverloaded,
)

PETS = Versions("pets", "1", "2")
STABLE, CANARY = "pets/1", "pets/2"
CAT, DOG = classes((1, 0.9)), classes((2, 0.9))
FULL = 10_000


def original(*results: Result | ImageTruncated, size: int = 0) -> Original:
    images = [[f"image {place}".encode().ljust(size)] for place in range(len(results))]
    return Original(PETS, "r-1", images, results)


class Canary:
    """Answers when it is told to."""

    def __init__(self, *answers: Result, error: Exception | None = None) -> None:
        self._answers = answers
        self._error = error
        self.calls: list[Deadline] = []
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, deadline: Deadline) -> Sequence[Result]:
        self.calls.append(deadline)
        await self.go.wait()
        if self._error:
            raise self._error
        return self._answers


class Bench:
    """A mirror over two lanes of two slots each."""

    def __init__(self, draws: Iterable[float] = (), **policy: int) -> None:
        clock = asyncio.get_running_loop().time
        limit = LimitPolicy(target=0.4, lowest=1, start=2, highest=2)
        self.admission = Admission[str](lambda _: GatePolicy(limit), clock=clock)
        self.journal = Journal()
        drawn = chain(draws, repeat(0.0))
        self.mirror = Mirror(
            self.admission,
            self.journal,
            draw=lambda: next(drawn),
            clock=clock,
            policy=MirrorPolicy(**policy),
        )

    @property
    def report(self) -> Report:
        return self.journal.of(PETS)

    def offer(self, canary: Canary, asked: Original | None = None, share: int = FULL) -> None:
        self.mirror.offer(share, [STABLE, CANARY], asked or original(CAT), canary)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(test())


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def within(seconds: float) -> Deadline:
    return Deadline(asyncio.get_running_loop().time() + seconds)


def test_the_call_begins_after_the_offer_and_its_answer_is_compared() -> None:
    async def test() -> None:
        bench, canary = Bench(), Canary(CAT)
        async with bench.mirror:
            bench.offer(canary)
            assert canary.calls == []
            await turns()
            assert len(canary.calls) == 1
        assert (bench.report.compared, bench.report.agreed) == (1, 1)
        assert bench.report.classes == {"class 1": ClassTally(agreed=1)}

    run(test)


@pytest.mark.parametrize(
    ("draw", "share", "mirrored"),
    [(0.0, 0, 0), (0.0, 1, 1), (0.2499, 2500, 1), (0.25, 2500, 0), (0.999_999, FULL, 1)],
    ids=["nothing", "next to nothing", "below a quarter", "a quarter and above", "everything"],
)
def test_the_share_is_drawn(draw: float, share: int, mirrored: int) -> None:
    async def test() -> None:
        bench = Bench([draw])
        async with bench.mirror:
            bench.offer(Canary(CAT), share=share)
        assert bench.report.compared == mirrored
        assert bench.report.dropped == {}

    run(test)


def test_a_disagreement_is_sampled_with_digest_request_and_both_answers() -> None:
    async def test() -> None:
        bench = Bench([0.0, 0.75])
        async with bench.mirror:
            bench.offer(Canary(DOG))
        (sample,) = bench.report.samples
        assert sample.sha256 == sha256(b"image 0").hexdigest()
        assert (sample.rank, sample.request_id) == (0.75, "r-1")
        assert (sample.stable, sample.canary, sample.image) == (CAT, DOG, None)

    run(test)


@pytest.mark.parametrize(("keep_bytes", "image"), [(0, None), (6, None), (7, b"image 0")])
def test_the_image_is_kept_only_up_to_the_size_that_the_operator_allows(
    keep_bytes: int, image: bytes | None
) -> None:
    async def test() -> None:
        bench = Bench(keep_bytes=keep_bytes)
        async with bench.mirror:
            bench.offer(Canary(DOG))
        assert bench.report.samples[0].image == image

    run(test)


def test_a_large_image_is_hashed_as_a_whole() -> None:
    async def test() -> None:
        bench = Bench()
        image = bytes(range(256)) * 4096 + b"end"
        async with bench.mirror:
            bench.offer(Canary(DOG), Original(PETS, "r-1", [[image]], [CAT]))
        assert bench.report.samples[0].sha256 == sha256(image).hexdigest()

    run(test)


def test_a_disagreement_that_would_not_stay_in_the_sample_is_counted_only() -> None:
    async def test() -> None:
        bench = Bench([0.0, 0.9])
        for rank in range(SAMPLES):
            bench.journal.add(of_comparison(PETS, comparison(), disagreement(rank / 100)))
        before = bench.report
        async with bench.mirror:
            bench.offer(Canary(DOG))
        assert bench.report.samples == before.samples
        assert bench.report.compared == before.compared + 1

    run(test)


def test_images_without_an_answer_are_left_out() -> None:
    async def test() -> None:
        bench = Bench()
        async with bench.mirror:
            bench.offer(Canary(CAT, DOG), original(CAT, ImageTruncated("cut off"), CAT))
        assert (bench.report.compared, bench.report.agreed) == (2, 1)
        assert bench.report.samples[0].sha256 == sha256(b"image 2").hexdigest()

    run(test)


def test_no_more_calls_are_under_way_than_may_be() -> None:
    async def test() -> None:
        bench, canary = Bench(at_once=2), Canary(CAT)
        canary.go.clear()
        async with bench.mirror:
            for _ in range(3):
                bench.offer(canary)
                await turns()
            assert len(canary.calls) == 2
            canary.go.set()
            await turns()
            bench.offer(canary)
        assert (bench.report.compared, bench.report.dropped) == (3, {Dropped.FULL: 1})

    run(test)


def test_no_more_bytes_are_held_than_may_be() -> None:
    async def test() -> None:
        bench, canary = Bench(size=100), Canary(CAT)
        async with bench.mirror:
            bench.offer(canary, original(CAT, size=101))
            bench.offer(canary, original(CAT, size=60))
            bench.offer(canary, original(CAT, size=41))
            bench.offer(canary, original(CAT, size=40))
        assert (bench.report.compared, bench.report.dropped) == (2, {Dropped.FULL: 2})

    run(test)


@pytest.mark.parametrize("lane", [STABLE, CANARY])
def test_nothing_is_mirrored_while_callers_take_the_slots(lane: str) -> None:
    async def test() -> None:
        bench, canary = Bench(), Canary(CAT)
        async with bench.mirror:
            permits = [await bench.admission.acquire(lane, Priority.INTERACTIVE, within(9)) for _ in range(2)]
            bench.offer(canary)
            await turns()
            assert canary.calls == []
            for permit in permits:
                permit.release(Outcome.ANSWERED)
            bench.offer(canary)
        assert (bench.report.compared, bench.report.dropped) == (1, {Dropped.BUSY: 1})

    run(test)


def test_a_slot_that_a_caller_took_after_the_offer_is_not_waited_for() -> None:
    async def test() -> None:
        bench = Bench()

        async def call(deadline: Deadline) -> Sequence[Result]:
            async with bench.admission.slot(CANARY, Priority.BATCH, deadline, wait=False):
                return [CAT]

        async with bench.mirror:
            bench.mirror.offer(FULL, [CANARY], original(CAT), call)
            for _ in range(2):
                await bench.admission.acquire(CANARY, Priority.INTERACTIVE, within(9))
        assert asyncio.get_running_loop().time() == 0
        assert bench.report == Report(PETS, dropped={Dropped.BUSY: 1})

    run(test)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpstreamFailed("x"), Report(PETS, failed={"upstream_error": 1})),
        (UpstreamInvalidResponse("x"), Report(PETS, failed={"upstream_invalid_response": 1})),
        (BackendDied("x"), Report(PETS, failed={"model_unavailable": 1})),
        (ConnectionFailed("x"), Report(PETS, failed={"upstream_unavailable": 1})),
        (DeadlineExceeded("x"), Report(PETS, failed={"deadline_exceeded": 1})),
        (Overloaded("x"), Report(PETS, dropped={"busy": 1})),
        (UpstreamOverloaded("x"), Report(PETS, dropped={"busy": 1})),
        (QueueTimeout("x"), Report(PETS, dropped={"busy": 1})),
        (OutOfService("x"), Report(PETS, dropped={"out-of-service": 1})),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_how_a_call_failed_is_counted(error: Exception, expected: Report) -> None:
    async def test() -> None:
        bench = Bench()
        async with bench.mirror:
            bench.offer(Canary(error=error))
        assert bench.report == expected
        assert json.loads(to_document(bench.report)) == json.loads(to_document(expected))

    run(test)


def test_a_canary_that_does_not_answer_in_time_has_failed() -> None:
    async def test() -> None:
        bench, canary = Bench(), Canary(CAT)
        canary.go.clear()
        async with bench.mirror:
            bench.offer(canary)
            await asyncio.sleep(1.5)
            assert bench.report == Report(PETS, failed={"deadline_exceeded": 1})
        assert canary.calls == [Deadline(1.0)]

    run(test)


@pytest.mark.parametrize(
    "canary_answers", [[CAT, CAT], []], ids=["more answers than images", "fewer answers than images"]
)
def test_a_fault_of_the_gateway_is_logged_and_not_held_against_the_canary(
    canary_answers: list[Result],
) -> None:
    async def test() -> None:
        bench = Bench()
        with structlog.testing.capture_logs() as lines:
            async with bench.mirror:
                bench.offer(Canary(*canary_answers))
        assert bench.report == Report(PETS, dropped={Dropped.FAULT: 1})
        assert [line["event"] for line in lines] == ["mirror_fault"]

    run(test)


def test_a_caller_that_leaves_does_not_take_the_mirrored_call_along() -> None:
    async def test() -> None:
        bench, canary = Bench(), Canary(CAT)
        canary.go.clear()

        async def request() -> None:
            bench.offer(canary)
            await asyncio.sleep(5)

        async with bench.mirror:
            caller = asyncio.create_task(request())
            await turns()
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            assert caller.cancelled()
            canary.go.set()
        assert bench.report.compared == 1

    run(test)


def test_closing_lets_calls_end_and_takes_no_more() -> None:
    async def test() -> None:
        bench, canary = Bench(), Canary(CAT)
        canary.go.clear()
        asyncio.get_running_loop().call_later(0.5, canary.go.set)
        async with bench.mirror:
            bench.offer(canary)
        assert asyncio.get_running_loop().time() == 0.5
        bench.offer(canary)
        assert len(canary.calls) == 1
        assert (bench.report.compared, bench.report.dropped) == (1, {Dropped.CLOSED: 1})

    run(test)


def test_closing_leaves_no_call_behind_even_when_it_is_cut_short() -> None:
    async def test() -> None:
        bench, canary = Bench(), Canary(CAT)
        canary.go.clear()

        async def worker() -> None:
            async with bench.mirror:
                bench.offer(canary)

        closing = asyncio.create_task(worker())
        await turns()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert bench.report == Report(PETS, dropped={Dropped.CLOSED: 1})

    run(test)
