"""Reports: what they count, how they add up, what stays in the sample, and their document."""

import json
from collections.abc import Sequence
from dataclasses import astuple
from functools import reduce
from itertools import permutations
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.references import STEADY
from unit.canary.answers import PAIRS, boxes, classes, comparison, disagreement, square

from gateway.canary.compare import MOST, Result, compare
from gateway.canary.comparison import ClassTally, Drift
from gateway.canary.report import (
    SAMPLES,
    BrokenReport,
    Journal,
    Report,
    Versions,
    from_document,
    of_comparison,
    to_document,
    trimmed,
)

PETS = Versions("pets", "1", "2")
DIGITS = Versions("digits", "1", "2")

FAILURES = st.dictionaries(st.sampled_from(["upstream_error", "deadline_exceeded"]), st.integers(1, 9))


def report_of(
    pairs: Sequence[tuple[Result, Result]], ranks: Sequence[float], failed: dict[str, int]
) -> Report:
    """Of these answers, and of disagreements of these ranks."""
    compared = [of_comparison(PETS, compare(*pair)) for pair in pairs]
    sampled = [of_comparison(PETS, comparison(agrees=False), disagreement(rank)) for rank in ranks]
    return reduce(add, compared + sampled, Report(PETS, failed=failed, dropped=failed))


REPORTS = st.builds(
    report_of, st.lists(PAIRS, max_size=3), st.lists(st.floats(0, 1), max_size=SAMPLES), FAILURES
)


def total(comparisons: Sequence[Report]) -> Report:
    return reduce(add, comparisons, Report(PETS))


def test_a_report_that_compared_nothing_claims_nothing() -> None:
    empty = Report(PETS)
    assert (empty.agreement, empty.mean_overlap, empty.mean_drift) == (None, None, None)


def test_agreement_overlap_and_drift_are_averages_over_images() -> None:
    found = total(
        [
            of_comparison(PETS, comparison(agrees=True, overlap=1.0, drift=Drift(-0.1, 0.1))),
            of_comparison(PETS, comparison(agrees=True, overlap=0.8, drift=Drift(0.1, 0.3))),
            of_comparison(PETS, comparison(agrees=True, overlap=0.9, drift=Drift(0.3, 0.5))),
            of_comparison(PETS, comparison(agrees=False, overlap=0.0, drift=None)),
        ]
    )
    assert found.agreement == 0.75
    assert found.mean_overlap == pytest.approx(0.675)
    assert found.mean_drift is not None
    assert astuple(found.mean_drift) == pytest.approx((0.1, 0.3))
    assert found.classes == {"class 1": ClassTally(agreed=3, missed=1)}


def test_a_thousand_equal_averages_stay_what_they_are() -> None:
    third = of_comparison(PETS, comparison(overlap=1 / 3, drift=Drift(-0.123456, 0.123456)))
    found = total([third] * 1000)
    assert found.mean_overlap == pytest.approx(1 / 3, abs=1e-6)
    assert found.mean_drift == Drift(-0.123456, 0.123456)


def test_the_sample_keeps_the_lowest_ranks_whatever_came_first() -> None:
    ranks = [rank / 100 for rank in range(60)]
    for order in (ranks, ranks[::-1]):
        found = total([of_comparison(PETS, comparison(), disagreement(rank)) for rank in order])
        assert [each.rank for each in found.samples] == ranks[:SAMPLES]


def test_reports_on_different_versions_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        Report(PETS) + Report(DIGITS)


@STEADY
@given(REPORTS, REPORTS, REPORTS)
def test_reports_add_up_in_any_order_and_grouping(one: Report, two: Report, three: Report) -> None:
    assert (one + two) + three == one + (two + three)
    assert len({to_document(total(order)) for order in permutations([one, two, three])}) == 1


@STEADY
@given(REPORTS)
def test_an_empty_report_adds_nothing(report: Report) -> None:
    assert report + Report(PETS) == report == Report(PETS) + report


@STEADY
@given(REPORTS)
def test_a_report_comes_back_from_its_document(report: Report) -> None:
    assert from_document(to_document(report)) == report


def test_the_bytes_of_an_image_come_back_from_the_document() -> None:
    image = bytes(range(256))
    report = of_comparison(PETS, comparison(agrees=False), disagreement(0.5, image))
    assert from_document(to_document(report)).samples[0].image == image


def test_both_answers_of_a_sample_can_be_read_in_the_document() -> None:
    report = of_comparison(PETS, comparison(agrees=False), disagreement(0.5))
    (sample,) = json.loads(to_document(report))["samples"]
    assert sample["stable"] == classes((1, 0.9)).model_dump()
    assert sample["canary"] == boxes((1, square(0))).model_dump()
    assert sample["image"] is None


GOOD = json.loads(to_document(report_of([(classes((1, 0.9)), classes())], [0.5], {"upstream_error": 1})))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"compared": -1}, "compared"),
        ({"compared": "1"}, "compared"),
        ({"drift_signed": 0.5}, "drift_signed"),
        ({"failed": {"upstream_error": -1}}, "failed"),
        ({"classes": {"class 1": {"agreed": "many"}}}, "classes"),
        ({"samples": [{**GOOD["samples"][0], "sha256": "none"}]}, "samples"),
        ({"samples": GOOD["samples"] * (SAMPLES + 1)}, "samples"),
        ({"unknown": 1}, "unknown"),
        ({"versions": None}, "versions"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_document_that_is_no_report_is_refused_by_the_place(change: dict[str, object], place: str) -> None:
    assert from_document(json.dumps(GOOD))
    with pytest.raises(BrokenReport, match=place):
        from_document(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_text_that_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(BrokenReport):
        from_document(text)


def test_a_sample_keeps_what_was_compared_of_an_answer() -> None:
    many = boxes(*((0, square(float(place))) for place in range(MOST + 5)))
    assert trimmed(many) == many.model_copy(update={"detections": many.detections[:MOST]})
    listed = classes(*((place, 0.001) for place in range(MOST + 5)))
    assert trimmed(listed) == listed.model_copy(update={"predictions": listed.predictions[:MOST]})


def test_a_worker_holds_one_report_a_pair_of_versions_until_they_are_taken() -> None:
    journal = Journal()
    for versions in (PETS, DIGITS, PETS):
        journal.add(of_comparison(versions, comparison()))
    assert journal.of(PETS).compared == 2
    taken = journal.take()
    assert {each.versions: each.compared for each in taken} == {PETS: 2, DIGITS: 1}
    assert journal.take() == []
    assert journal.of(PETS) == Report(PETS)
    journal.add(taken[0])
    assert journal.of(taken[0].versions) == taken[0]


def test_of_too_many_pairs_of_versions_those_not_added_to_for_longest_go() -> None:
    journal = Journal(pairs=2)
    third = Versions("cars", "1", "2")
    for versions in (PETS, DIGITS, PETS, third):
        journal.add(of_comparison(versions, comparison()))
    assert {each.versions for each in journal.take()} == {PETS, third}


def test_a_disagreement_is_worth_preparing_while_its_rank_would_stay() -> None:
    journal = Journal()
    assert journal.keeps(PETS, 0.99)
    for rank in range(SAMPLES):
        journal.add(of_comparison(PETS, comparison(), disagreement((rank + 1) / 100)))
    assert journal.keeps(PETS, 0.001)
    assert not journal.keeps(PETS, 0.5)
