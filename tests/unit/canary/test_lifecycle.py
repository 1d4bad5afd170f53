"""From one state of a route to the next: what passes, what is refused, and what the clock asks for."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.canary.routes import (
    NOW,
    PLAN,
    aborted,
    by_hand,
    last_step,
    paused,
    plan_route,
    promoted,
    rolled_back,
)

from gateway.canary import lifecycle
from gateway.canary.lifecycle import Action, RefusedChange, due, perform, put
from gateway.canary.route import Guard, Life, Phase, Route, Step, default_route, from_document, to_document
from gateway.canary.wanted import Wanted, amend, wanted_of

LATER = NOW + 3600

STATES: dict[str, Callable[[], Route]] = {
    "no canary": lambda: default_route("pets", "1"),
    "by hand": by_hand,
    "with a plan in reserve": lambda: by_hand(steps=PLAN),
    "progressing": plan_route,
    "at the last step": last_step,
    "paused": paused,
    "rolled back": rolled_back,
    "aborted": aborted,
    "promoted": promoted,
    "lease over": lambda: by_hand(lease=NOW + 60),
}
CHANGES: dict[str, Callable[[Route], Route]] = {
    "start": lambda route: lifecycle.start(route, LATER, "r2"),
    "advance": lambda route: lifecycle.advance(route, LATER),
    "pause": lambda route: lifecycle.pause(route, LATER),
    "resume": lambda route: lifecycle.resume(route, LATER),
    "abort": lambda route: lifecycle.abort(route, LATER),
    "expire": lambda route: lifecycle.expire_lease(route, LATER),
    "rollback": lambda route: lifecycle.rollback(route, "by hand", LATER),
    "promote": lambda route: lifecycle.promote(route, LATER),
    "put": lambda route: put(route, Wanted("1", "2", 700), LATER, "r2"),
    "undo": lambda route: lifecycle.undo(route, by_hand(), LATER),
}
ALWAYS = {"put", "undo"}
PASSES: dict[str, set[str]] = {
    "no canary": set(),
    "by hand": {"abort", "rollback", "promote"},
    "with a plan in reserve": {"start", "abort", "rollback", "promote"},
    "progressing": {"advance", "pause", "abort", "rollback", "promote"},
    "at the last step": {"pause", "abort", "rollback", "promote"},
    "paused": {"resume", "abort", "rollback", "promote"},
    "rolled back": {"start"},
    "aborted": {"start"},
    "promoted": set(),
    "lease over": {"expire", "abort", "rollback", "promote"},
}


def passing(route: Route) -> set[str]:
    names = set()
    for name, change in CHANGES.items():
        try:
            change(route)
        except RefusedChange:
            continue
        names.add(name)
    return names


@pytest.mark.parametrize("state", STATES)
def test_what_passes_in_a_state(state: str) -> None:
    assert passing(STATES[state]()) == PASSES[state] | ALWAYS


@pytest.mark.parametrize("state", STATES)
def test_while_frozen_only_a_rollback_passes(state: str) -> None:
    frozen = lifecycle.freeze(STATES[state]())
    assert passing(frozen) == PASSES[state] & {"rollback"}
    assert due(frozen, LATER, served=10**6, healthy=True) is None
    assert lifecycle.unfreeze(frozen) == STATES[state]()


def test_a_rollback_leaves_the_route_frozen() -> None:
    assert lifecycle.rollback(lifecycle.freeze(plan_route()), "errors", NOW).frozen


def test_freezing_twice_or_thawing_what_is_not_frozen_is_refused() -> None:
    with pytest.raises(RefusedChange):
        lifecycle.freeze(lifecycle.freeze(plan_route()))
    with pytest.raises(RefusedChange):
        lifecycle.unfreeze(plan_route())


@pytest.mark.parametrize(
    ("change", "phase"),
    [("rollback", Phase.ROLLED_BACK), ("abort", Phase.STEADY), ("expire", Phase.STEADY)],
)
def test_an_end_takes_everybody_off_and_leaves_the_canary_named(change: str, phase: Phase) -> None:
    route = CHANGES[change](plan_route(mirror=1000, lease=NOW + 60, always=("tenant-a",)))
    assert (route.stable, route.canary, route.weight, route.mirror) == ("1", "2", 0, 0)
    assert (route.phase, route.lease, route.step, route.under_way) == (phase, None, -1, False)
    assert route.always == ()
    assert route.steps == PLAN
    assert route.reason
    assert route.since == LATER


def test_the_reason_of_a_rollback_stands_in_the_route_and_is_bounded() -> None:
    assert rolled_back().reason == "10 % errors"
    long = lifecycle.rollback(plan_route(), "x" * 5000, NOW)
    assert from_document(to_document(long)) == long


def test_a_promotion_makes_the_canary_stable_and_leaves_nothing_of_the_rollout() -> None:
    route = lifecycle.promote(last_step(mirror=500, guard=Guard(error_z=4.0)), LATER)
    assert route == replace(
        default_route("pets", "2"),
        guard=Guard(error_z=4.0),
        phase=Phase.PROMOTED,
        reason="Version 2 took over from version 1 at 100 %.",
        since=LATER,
    )


def test_a_plan_goes_through_its_steps_and_is_promoted_without_an_operator() -> None:
    route, seen, now = plan_route(), [], NOW
    while route.phase is not Phase.PROMOTED:
        seen.append((route.weight, now - NOW))
        action = None
        while action is None:
            now += 1
            action = due(route, now, served=1000, healthy=True)
        route = perform(route, action, now)
    assert seen == [(100, 0), (500, 10), (10_000, 30)]
    assert (route.stable, now - NOW) == ("2", 60)


@pytest.mark.parametrize(
    ("route", "after", "served", "healthy", "action"),
    [
        pytest.param(plan_route(), 10, 100, True, Action.ADVANCE, id="time, requests and health"),
        pytest.param(plan_route(), 9.9, 100, True, None, id="too early"),
        pytest.param(plan_route(), 10, 99, True, None, id="too few requests"),
        pytest.param(plan_route(), 9999, 10**6, False, None, id="missing or bad data never passes"),
        pytest.param(last_step(), 30, 300, True, Action.PROMOTE, id="the last step"),
        pytest.param(last_step(), 29, 300, True, None, id="the last step, too early"),
        pytest.param(paused(), 9999, 10**6, True, None, id="paused"),
        pytest.param(by_hand(steps=PLAN), 9999, 10**6, True, None, id="set by hand, with a plan in reserve"),
        pytest.param(rolled_back(), 9999, 10**6, True, None, id="rolled back: it does not restart by itself"),
        pytest.param(aborted(), 9999, 10**6, True, None, id="aborted"),
        pytest.param(promoted(), 9999, 10**6, True, None, id="promoted"),
        pytest.param(by_hand(lease=NOW + 60), 59, 0, True, None, id="a lease that holds"),
        pytest.param(by_hand(lease=NOW + 60), 60, 0, False, Action.EXPIRE_LEASE, id="a lease that is over"),
        pytest.param(
            plan_route(lease=NOW + 60), 60, 100, True, Action.EXPIRE_LEASE, id="a lease before a step"
        ),
    ],
)
def test_what_the_clock_asks_for(
    route: Route, after: float, served: int, healthy: bool, action: Action | None
) -> None:
    assert due(route, NOW + after, served=served, healthy=healthy) is action


def test_a_plan_that_ends_below_everybody_waits_there_for_an_operator() -> None:
    route = put(default_route("pets", "1"), Wanted("1", "2", steps=(Step(5000, 0, 0),)), NOW, "r1")
    assert due(route, LATER, served=10**6, healthy=True) is None
    assert lifecycle.promote(route, LATER).stable == "2"


def test_a_step_counts_anew_after_a_pause() -> None:
    resumed = lifecycle.resume(paused(), LATER)
    assert (resumed.step_started_at, resumed.weight, resumed.salt) == (LATER, 100, "r1")
    assert due(resumed, LATER + 9, served=1000, healthy=True) is None


@pytest.mark.parametrize(
    ("route", "wanted", "salt"),
    [
        pytest.param(by_hand(), Wanted("1", "2", 700), "r1", id="more weight keeps it"),
        pytest.param(by_hand(), Wanted("1", "2", 0), "r1", id="no weight keeps it"),
        pytest.param(by_hand(0), Wanted("1", "2", 500), "r1", id="back from no weight by hand keeps it"),
        pytest.param(plan_route(), Wanted("1", "2", 700), "r1", id="a plan taken over by hand keeps it"),
        pytest.param(by_hand(), Wanted("1", "2", steps=PLAN), "r1", id="a plan that takes over keeps it"),
        pytest.param(by_hand(), Wanted("1", "3", 500), "r2", id="another canary"),
        pytest.param(by_hand(), Wanted("3", "2", 500), "r2", id="another stable version"),
        pytest.param(rolled_back(), Wanted("1", "2", 500), "r2", id="after a rollback"),
        pytest.param(rolled_back(), Wanted("1", "2", steps=PLAN), "r2", id="the plan again after a rollback"),
        pytest.param(aborted(), Wanted("1", "2", 500), "r2", id="after an abort"),
        pytest.param(
            aborted(), Wanted("1", "2", 0, mirror=100, steps=PLAN), "r2", id="a mirror after an abort"
        ),
        pytest.param(promoted(), Wanted("2", "3", 500), "r2", id="after a promotion"),
        pytest.param(by_hand(), Wanted("1"), "", id="no canary any more"),
    ],
)
def test_a_new_rollout_draws_a_salt_and_a_change_of_weight_keeps_it(
    route: Route, wanted: Wanted, salt: str
) -> None:
    assert put(route, wanted, LATER, "r2").salt == salt


def test_starting_again_after_a_rollback_draws_a_salt() -> None:
    started = lifecycle.start(rolled_back(), LATER, "r2")
    assert (started.salt, started.weight, started.phase) == ("r2", 100, Phase.PROGRESSING)


@pytest.mark.parametrize(
    ("route", "wanted", "weight", "phase"),
    [
        pytest.param(default_route("pets", "1"), Wanted("1", "2"), 0, Phase.STEADY, id="a canary alone"),
        pytest.param(
            default_route("pets", "1"), Wanted("1", "2", 10_000), 10_000, Phase.STEADY, id="by hand"
        ),
        pytest.param(
            default_route("pets", "1"),
            Wanted("1", "2", steps=PLAN),
            100,
            Phase.PROGRESSING,
            id="a plan begins",
        ),
        pytest.param(
            default_route("pets", "1"),
            Wanted("1", "2", 0, steps=PLAN),
            0,
            Phase.STEADY,
            id="a plan in reserve",
        ),
        pytest.param(
            plan_route(), Wanted("1", "2", 700, steps=PLAN), 700, Phase.STEADY, id="taken over by hand"
        ),
        pytest.param(plan_route(), Wanted("1", "2"), 100, Phase.STEADY, id="the plan dropped at its weight"),
        pytest.param(plan_route(), Wanted("1", "3"), 0, Phase.STEADY, id="another canary inherits nothing"),
        pytest.param(
            rolled_back(), Wanted("1", "2", steps=PLAN), 100, Phase.PROGRESSING, id="the plan again"
        ),
        pytest.param(by_hand(), Wanted("2"), 0, Phase.STEADY, id="no canary"),
    ],
)
def test_a_weight_is_by_hand_and_a_plan_without_one_begins(
    route: Route, wanted: Wanted, weight: int, phase: Phase
) -> None:
    after = put(route, wanted, LATER, "r2")
    assert (after.weight, after.phase, after.since) == (weight, phase, LATER)


@pytest.mark.parametrize("state", STATES)
def test_asking_for_what_stands_changes_nothing(state: str) -> None:
    route = STATES[state]()
    assert put(route, wanted_of(route), NOW + 1, "r2") == route


@pytest.mark.parametrize("make", [plan_route, paused, rolled_back, by_hand])
def test_settings_change_without_touching_the_course(make: Callable[[], Route]) -> None:
    route = make()
    after = put(route, amend(route, '{"always": ["key_1"], "lives": {"1": {"sunset_at": 5}}}'), LATER, "r2")
    assert after == replace(route, always=("key_1",), lives={"1": Life(sunset_at=5.0)})


def test_a_lease_is_renewed_while_the_plan_goes_on() -> None:
    route = plan_route(lease=NOW + 60)
    renewed = put(route, amend(route, f'{{"lease": {NOW + 120}}}'), NOW + 30, "r2")
    assert renewed == replace(route, lease=NOW + 120)


@pytest.mark.parametrize("make", [rolled_back, aborted])
@pytest.mark.parametrize("wanted", [{"lease": LATER + 60}, {"lease": LATER + 60, "weight": 0}])
def test_a_lease_alone_begins_no_rollout(make: Callable[[], Route], wanted: dict[str, object]) -> None:
    with pytest.raises(RefusedChange, match="No rollout is under way"):
        put(make(), amend(make(), json.dumps(wanted)), LATER, "r2")


def test_a_lease_may_come_with_what_begins_a_rollout() -> None:
    begun = {
        "weight": put(rolled_back(), Wanted("1", "2", 5, lease=LATER + 60), LATER, "r2"),
        "plan": put(rolled_back(), Wanted("1", "2", steps=PLAN, lease=LATER + 60), LATER, "r2"),
        "mirror": put(rolled_back(), Wanted("1", "2", 0, mirror=100, lease=LATER + 60), LATER, "r2"),
        "another canary": put(rolled_back(), Wanted("1", "3", lease=LATER + 60), LATER, "r2"),
    }
    assert {(route.salt, route.lease) for route in begun.values()} == {("r2", LATER + 60)}


@pytest.mark.parametrize("make", [plan_route, paused])
def test_the_weight_of_the_running_step_set_by_hand_ends_the_course_of_the_plan(
    make: Callable[[], Route],
) -> None:
    route = make()
    after = put(route, amend(route, '{"weight": 100}'), LATER, "r2")
    assert (after.phase, after.weight, after.steps, after.salt) == (Phase.STEADY, 100, PLAN, "r1")
    assert put(after, Wanted("1", "2", 100, steps=PLAN), LATER + 1, "r2") == after


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(Wanted("1", "2", 5, lease=NOW), id="a lease that is over"),
        pytest.param(Wanted("1", "2", 5, guard=Guard(min_agreement=0.9)), id="agreement without a mirror"),
        pytest.param(Wanted("1", "2", guard=Guard(min_agreement=0.9), steps=PLAN), id="the same for a plan"),
        pytest.param(
            Wanted("1", "2", 0, guard=Guard(min_agreement=0.9)),
            id="the same of a canary that nobody is sent to",
        ),
    ],
)
def test_what_could_not_be_kept_is_refused(wanted: Wanted) -> None:
    with pytest.raises(RefusedChange):
        put(default_route("pets", "1"), wanted, NOW, "r1")


def test_a_canary_that_was_rolled_back_keeps_its_bound_while_other_settings_change() -> None:
    route = lifecycle.rollback(plan_route(mirror=1000, guard=Guard(min_agreement=0.9)), "errors", NOW)
    after = put(route, amend(route, '{"always": ["key_1"]}'), LATER, "r2")
    assert (after.always, after.mirror, after.guard.min_agreement) == (("key_1",), 0, 0.9)
    with pytest.raises(RefusedChange, match="--min-agreement none"):
        put(route, amend(route, '{"guard": {"min_agreement": 0.8}}'), LATER, "r2")


def test_an_undone_rollback_brings_its_callers_back_but_its_plan_waits() -> None:
    before = plan_route(mirror=1000)
    undone = lifecycle.undo(lifecycle.rollback(before, "errors", NOW), before, LATER)
    assert (undone.weight, undone.mirror, undone.salt, undone.phase) == (100, 1000, "r1", Phase.PAUSED)
    assert due(undone, LATER + 9999, served=10**6, healthy=True) is None


def test_a_lease_that_is_over_is_not_undone() -> None:
    leased = by_hand(lease=NOW + 60)
    with pytest.raises(RefusedChange, match="lease would be over"):
        lifecycle.undo(lifecycle.expire_lease(leased, LATER), leased, LATER)


def test_an_undone_weight_is_the_weight_before() -> None:
    before = by_hand(500)
    after = put(before, Wanted("1", "2", 9000), NOW, "r2")
    assert lifecycle.undo(after, before, LATER) == replace(before, since=LATER)


@given(st.lists(st.sampled_from(sorted(CHANGES)), max_size=12))
def test_whatever_happens_to_a_route_its_document_can_be_read_and_nothing_is_left_after_an_end(
    names: list[str],
) -> None:
    route = plan_route(lease=NOW + 60)
    for name in names:
        try:
            route = CHANGES[name](route)
        except RefusedChange:
            continue
        assert from_document(to_document(route)) == route
        assert route.under_way or route.weight == route.mirror == 0
