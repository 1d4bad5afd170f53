"""The evidence of a rollout: what counts for whom and since when, and when an open breaker takes a canary back."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.canary import lifecycle
from gateway.canary.analysis import Cause, Verdict, judge
from gateway.canary.counts import KEPT, Bucket, Reading, Series, Tally
from gateway.canary.histogram import Histogram, bucket
from gateway.canary.ledger import Ledger, continued, evidence, from_document, judged, to_document
from gateway.canary.outcomes import BREAKER, FALLBACK
from gateway.canary.route import Route, Step, default_route
from gateway.canary.wanted import Wanted
from gateway.domain import Variant

NOW = 1_000
ROUTE = replace(default_route("digits", "1"), canary="2", weight=5000, salt="salt")
REFUSED, STABLE_REFUSED = Series("2", BREAKER), Series("1", BREAKER)
CANARY, SHADOW, PINNED = (Series("2", each) for each in (Variant.CANARY, Variant.SHADOW, Variant.PINNED))
STABLE = Series("1", Variant.STABLE)
MARK = "5000/0/None"
INSTEAD = Series("1", FALLBACK)
FAILED, ONCE, FINE = Tally(requests=5, errors=5), Tally(requests=1, errors=1), Tally(requests=5)
AMONG_MANY = Tally(requests=40, errors=1)
BUSY = Tally(requests=100, errors=1, latency=Histogram.of({bucket(0.01): 99}).counts)
BAD = Tally(requests=100, errors=50, latency=Histogram.of({bucket(0.01): 50}).counts)


@pytest.mark.parametrize(
    ("seen", "opened"),
    [
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED}, True),
        ({(2, REFUSED): FAILED, (4, SHADOW): FAILED}, True),
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED, (20, CANARY): FINE}, True),
        (
            {
                (1, REFUSED): ONCE,
                (1, CANARY): ONCE,
                (12, CANARY): ONCE,
                (30, CANARY): ONCE,
                (60, CANARY): ONCE,
            },
            True,
        ),
        ({(2, REFUSED): FAILED, (4, CANARY): FINE}, False),
        ({(2, REFUSED): FAILED, (4, CANARY): ONCE}, False),
        ({(2, REFUSED): FAILED, (3, CANARY): AMONG_MANY, (4, CANARY): AMONG_MANY}, False),
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED, (3, CANARY): Tally(requests=100)}, False),
        ({(2, REFUSED): FAILED, (4, INSTEAD): FAILED}, False),
        ({(2, REFUSED): FAILED, (4, PINNED): FAILED}, False),
        ({(1, STABLE_REFUSED): FAILED, (2, REFUSED): FAILED, (4, CANARY): FAILED}, False),
        ({(5, REFUSED): FAILED, (5, CANARY): FAILED}, False),
        ({(2, CANARY): FAILED}, False),
        ({(2, REFUSED): FAILED, (4, CANARY): FAILED, (9, STABLE): Tally(requests=9, errors=9)}, False),
    ],
    ids=[
        "it failed at all it was asked",
        "it failed at mirrored calls",
        "it fails since lately",
        "it is asked now and then, and always fails",
        "it failed at nothing that the stable version answers",
        "it failed once, which is no reason to open a breaker",
        "it fails now and then, and who sends what no version can answer opened its breaker",
        "it does well since",
        "both failed, which counts for neither",
        "it failed for who had asked for it",
        "the stable version's is open too",
        "it was open and is no longer",
        "it failed and is not open",
        "the stable version fails as much",
    ],
)
def test_the_breaker_is_evidence_where(seen: dict[tuple[int, Series], Tally], opened: bool) -> None:
    """`seen` says how many seconds ago each tally was."""
    tallies: dict[int, dict[Series, Tally]] = {}
    for (ago, series), tally in seen.items():
        tallies.setdefault(NOW - ago, {})[series] = tally
    reading = Reading(NOW, [Bucket(second, tallies[second]) for second in sorted(tallies)])
    ledger = continued(Ledger("salt", MARK, NOW - KEPT), ROUTE, reading)
    assert (judge(ROUTE.guard, evidence(ledger, ROUTE, reading)).cause is Cause.BREAKER) is opened


def test_failures_of_one_second_are_known_to_have_come_together() -> None:
    ledger = Ledger("salt", MARK, NOW - KEPT)
    for now in range(NOW - 9, NOW + 1):  # one look a second
        seen = {CANARY: FINE, SHADOW: FAILED} if now == NOW - 5 else {CANARY: FINE}
        ledger = continued(ledger, ROUTE, Reading(now, [Bucket(now - 1, seen)]))
    assert ledger.canary.burst == pytest.approx(FAILED.errors, rel=0.05)
    assert from_document(to_document(ledger)) == ledger


def test_what_the_stable_version_does_in_a_canarys_place_is_held_against_neither() -> None:
    reading = Reading(NOW, [Bucket(NOW - 1, {STABLE: BUSY, CANARY: BUSY, INSTEAD: FAILED})])
    known = evidence(continued(Ledger("salt", MARK, NOW - 2), ROUTE, reading), ROUTE, reading)
    assert (known.stable.requests, known.stable.errors) == (100, 1)
    assert (known.canary.requests, known.canary.errors) == (100, 1)


class Watch:
    """A ledger that is looked at each second, and what the calls of each second were."""

    def __init__(self) -> None:
        self.now = NOW
        self.buckets: list[Bucket] = []
        self.ledger: Ledger | None = None

    def spend(self, seconds: int, route: Route, tally: Tally, stable: Tally = BUSY) -> None:
        for _ in range(seconds):
            self.buckets.append(
                Bucket(self.now, {STABLE: stable, CANARY: tally, SHADOW: Tally(compared=10, agreed=5)})
            )
            self.now += 1
            if route.under_way:
                self.ledger = continued(self.ledger, route, self.reading())

    def back_by(self, seconds: int) -> None:
        """The clock; what it comes to again is still there, if it is still kept."""
        self.now -= seconds

    def counted(self, route: Route) -> tuple[int, int, int]:
        """Requests on the canary, those in the windows, and answers compared."""
        assert self.ledger is not None
        known = evidence(self.ledger, route, self.reading())
        return known.canary.requests, sum(canary.requests for _, canary in known.windows), known.compared

    def reading(self) -> Reading:
        kept = [bucket for bucket in self.buckets if self.now - KEPT < bucket.second <= self.now]
        return Reading(self.now, kept)


def by_hand(route: Route, weight: int, now: float, salt: str) -> Route:
    return lifecycle.put(route, Wanted("1", "2", weight, mirror=1000), now, salt)


def test_nothing_from_before_a_rollout_is_held_against_it() -> None:
    watch = Watch()
    first = by_hand(default_route("digits", "1"), 500, 1.0, "first")
    watch.spend(20, first, BAD)
    again = by_hand(lifecycle.rollback(first, "bad", 2.0), 500, 3.0, "again")
    watch.spend(2, again, BUSY)
    assert watch.counted(again) == (100, 0, 10)
    assert judge(again.guard, evidence(watch.ledger, again, watch.reading())).cause is not Cause.ERRORS


def test_nothing_from_before_a_step_is_held_against_it() -> None:
    watch = Watch()
    first = by_hand(default_route("digits", "1"), 500, 1.0, "salt")
    watch.spend(20, first, BAD)
    wider = by_hand(first, 1000, 2.0, "-")
    watch.spend(3, wider, BUSY)
    assert watch.counted(wider) == (200, 200, 220)  # agreement is the rollout's


@pytest.mark.parametrize("plan", [(), (Step(500, 60, 100), Step(10_000, 60, 100))], ids=["by hand", "a plan"])
@pytest.mark.parametrize("end", ["rollback", "abort"])
def test_an_undone_end_begins_all_evidence_anew(plan: tuple[Step, ...], end: str) -> None:
    watch = Watch()
    wanted = Wanted("1", "2", None if plan else 500, mirror=1000, steps=plan)
    before = lifecycle.put(default_route("digits", "1"), wanted, 1.0, "salt")
    watch.spend(20, before, BAD)
    ended = lifecycle.rollback(before, "bad", 2.0) if end == "rollback" else lifecycle.abort(before, 2.0)
    watch.spend(3, ended, Tally())
    undone = lifecycle.undo(ended, before, 3.0)
    watch.spend(1, undone, Tally())
    assert watch.counted(undone) == (0, 0, 0)
    watch.spend(3, undone, BUSY)
    assert watch.counted(undone) == (300, 200, 30)


def test_a_pause_and_a_change_of_settings_keep_the_evidence() -> None:
    watch = Watch()
    plan = (Step(500, 60, 100), Step(10_000, 60, 100))
    route = lifecycle.put(
        default_route("digits", "1"), Wanted("1", "2", mirror=1000, steps=plan), 1.0, "salt"
    )
    watch.spend(20, route, BUSY)
    paused = lifecycle.pause(route, 2.0)
    watch.spend(1, paused, BUSY)
    watch.spend(1, replace(paused, lease=1e9), BUSY)
    assert watch.counted(paused)[0] == 2100


HALVES = (Step(5000, 60, 100), Step(10_000, 60, 100))
STRAGGLING = Tally(requests=1, latency=Histogram.of({bucket(0.01): 1}).counts)


def at_everybody(watch: Watch) -> Route:
    """Half of the callers for a while, then all."""
    half = lifecycle.put(default_route("digits", "1"), Wanted("1", "2", steps=HALVES), 1.0, "salt")
    watch.spend(20, half, BUSY)
    full = lifecycle.advance(half, 2.0)
    watch.spend(3, full, BUSY, STRAGGLING)
    return full


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda route: lifecycle.resume(lifecycle.pause(route, 3.0), 4.0), id="a pause"),
        pytest.param(lambda route: replace(route, mirror=500), id="another mirror share"),
        pytest.param(lambda route: lifecycle.undo(lifecycle.promote(route, 3.0), route, 4.0), id="an undo"),
    ],
)
def test_at_everybody_the_canary_is_compared_with_the_step_before_also_after(
    changed: Callable[[Route], Route],
) -> None:
    watch = Watch()
    full = at_everybody(watch)
    after = changed(full)
    watch.spend(20, after, BAD, Tally())
    assert watch.ledger is not None
    judgement = judged(watch.ledger, after, watch.reading())
    assert (judgement.verdict, judgement.cause) == (Verdict.ROLL_BACK, Cause.ERRORS)


def test_sums_that_were_lost_at_everybody_do_not_come_back_and_the_guard_says_what_helps() -> None:
    watch = Watch()
    full = at_everybody(watch)
    watch.ledger = None
    watch.buckets.clear()
    watch.spend(20, full, BUSY, Tally())
    assert watch.ledger is not None
    blind = judged(watch.ledger, full, watch.reading())
    assert (blind.verdict, blind.cause) == (Verdict.INSUFFICIENT, Cause.LATENCY)
    assert "--steps 50%,100%" in blind.sentence
    again = lifecycle.put(full, Wanted("1", "2", steps=(Step(2500, 60, 100), *HALVES)), 3.0, "-")
    watch.spend(20, again, BUSY)
    full = lifecycle.advance(lifecycle.advance(again, 4.0), 5.0)
    watch.spend(20, full, BUSY, Tally())
    assert judged(watch.ledger, full, watch.reading()).verdict is Verdict.HEALTHY


@pytest.mark.parametrize("seconds", [5, 100, 10_000])
def test_a_clock_that_goes_back_counts_nothing_twice_and_stops_nothing_for_long(seconds: int) -> None:
    watch = Watch()
    watch.spend(20, ROUTE, BUSY)
    watch.back_by(seconds)
    if seconds > KEPT:
        watch.buckets.clear()
    for _ in range(seconds if seconds <= KEPT else 2):  # it comes to where it was, and nobody calls
        watch.now += 1
        watch.ledger = continued(watch.ledger, ROUTE, watch.reading())
    assert watch.counted(ROUTE)[0] == 1900
    watch.spend(2, ROUTE, BUSY)
    assert watch.counted(ROUTE)[0] == 2100
