"""The stage clock: what adds up, what overlaps, and what the answer's header says."""

import pytest

from gateway.domain import ModelVersion, Variant
from gateway.telemetry.timeline import Stage, Timeline, server_timing

STABLE = ModelVersion("pets", "1", Variant.STABLE)
CANARY = ModelVersion("pets", "2", Variant.CANARY)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timeline(clock: Clock) -> Timeline:
    return Timeline(clock)


def test_a_stage_that_comes_twice_adds_up(timeline: Timeline, clock: Clock) -> None:
    for seconds in (0.5, 0.25):
        with timeline.stage(Stage.LIMIT):
            clock.now += seconds
    assert timeline.seconds() == {Stage.LIMIT: 0.75}


def test_batches_side_by_side_count_each_instant_once(timeline: Timeline, clock: Clock) -> None:
    one, other, late = (timeline.stage(Stage.TRITON) for _ in range(3))
    with one:  # 0 to 4
        clock.now += 1
        with other:  # 1 to 3
            clock.now += 2
        with late:  # 3 to 6
            clock.now += 1
            one.end()
            clock.now += 2
    assert timeline.seconds() == {Stage.TRITON: 6.0}


def test_stages_do_not_shorten_each_other(timeline: Timeline, clock: Clock) -> None:
    with timeline.stage(Stage.QUEUE) as queueing:
        clock.now += 1
        with timeline.stage(Stage.TRITON):
            clock.now += 2
        queueing.end()
    assert timeline.seconds() == {Stage.QUEUE: 3.0, Stage.TRITON: 2.0}


def test_a_stage_that_was_ended_is_not_prolonged_by_its_block(timeline: Timeline, clock: Clock) -> None:
    with timeline.stage(Stage.QUEUE) as queueing:
        clock.now += 1
        queueing.end()
        clock.now += 5
    assert timeline.seconds() == {Stage.QUEUE: 1.0}


def test_a_stage_that_fails_took_its_time_too(timeline: Timeline, clock: Clock) -> None:
    def fail() -> None:
        with timeline.stage(Stage.DECODE):
            clock.now += 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert timeline.seconds() == {Stage.DECODE: 2.0}


def test_the_second_version_that_is_chosen_is_the_one_fallen_back_to(timeline: Timeline) -> None:
    timeline.chosen(CANARY)
    assert (timeline.target, timeline.fell_back) == (CANARY, False)
    timeline.chosen(STABLE)
    assert (timeline.target, timeline.fell_back) == (STABLE, True)


def test_the_header_has_milliseconds_in_the_order_of_the_path(timeline: Timeline, clock: Clock) -> None:
    for stage, seconds in ((Stage.TRITON, 0.0125), (Stage.AUTH, 0.00025)):
        with timeline.stage(stage):
            clock.now += seconds
    assert server_timing(timeline, 0.02) == "auth;dur=0.25, triton;dur=12.50, total;dur=20.00"
