"""What an operator may ask for, and a change on top of what stands."""

import json

import pytest
from unit.canary.routes import PLAN, by_hand, plan_route

from gateway.canary.route import Guard, Life, Source, Step, Sticky, default_route
from gateway.canary.wanted import Wanted, amend, read_wanted, wanted_of
from gateway.errors import ValidationFailed


def test_a_document_with_everything_is_read() -> None:
    text = """{"stable": "1", "canary": "2", "weight": 500, "sticky": "cookie:uid", "mirror": 100,
        "guard": {"min_requests": 200}, "steps": [{"weight": 100, "seconds": 5, "min_requests": 10}],
        "lease": 1900000000, "always": ["tenant-a"], "lives": {"1": {"sunset_at": 5}}}"""
    assert read_wanted(text) == Wanted(
        stable="1",
        canary="2",
        weight=500,
        sticky=Sticky(Source.COOKIE, "uid"),
        mirror=100,
        guard=Guard(min_requests=200),
        steps=(Step(100, 5.0, 10),),
        lease=1_900_000_000.0,
        always=("tenant-a",),
        lives={"1": Life(sunset_at=5.0)},
    )


@pytest.mark.parametrize(
    ("document", "pointers"),
    [
        ({"stable": "1", "canary": "2", "wieght": 5}, ["/wieght"]),
        ({"canary": "2"}, ["/stable"]),
        ({"stable": "1", "canary": "2", "weight": 10_001, "mirror": -1}, ["/mirror", "/weight"]),
        ({"stable": "1", "canary": "2", "weight": "500"}, ["/weight"]),
        ({"stable": "1", "canary": "2", "salt": "mine"}, ["/salt"]),
        ({"stable": "1", "canary": "2", "steps": [{"weight": 5, "sec": 1}]}, ["/steps/0/sec"]),
        ({"stable": "1", "canary": "2", "guard": {"error_z": 0}}, ["/guard/error_z"]),
        ({"stable": "1", "canary": "1"}, [""]),
        ({"stable": "1", "weight": 5}, [""]),
        ({"stable": "1", "steps": [{"weight": 5}]}, [""]),
        ({"stable": "1", "canary": "2", "steps": [{"weight": 5}, {"weight": 1}]}, [""]),
        ([], [""]),
    ],
)
def test_every_wrong_field_is_named(document: object, pointers: list[str]) -> None:
    with pytest.raises(ValidationFailed) as failed:
        read_wanted(json.dumps(document))
    assert sorted(error.pointer for error in failed.value.errors) == pointers


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"stable": "1", "canary": "1"}, "the canary is the stable version"),
        ({"stable": "1", "canary": "two"}, 'A version is a whole number from 1, such as "2".'),
        ({"stable": "1", "wieght": 5}, "There is no such field."),
        ({"stable": "1", "weight": 5}, "weight, mirror, steps and lease need a canary"),
    ],
)
def test_what_is_wrong_is_said_for_an_operator(document: object, detail: str) -> None:
    with pytest.raises(ValidationFailed) as failed:
        read_wanted(json.dumps(document))
    assert [error.detail for error in failed.value.errors] == [detail]


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValidationFailed):
        read_wanted(b"{\xff")


def test_a_change_keeps_what_it_does_not_name() -> None:
    route = plan_route(always=("tenant-a",))
    assert amend(route, '{"mirror": 50}') == Wanted("1", "2", mirror=50, steps=PLAN, always=("tenant-a",))
    assert amend(by_hand(), '{"mirror": 50}') == Wanted("1", "2", 500, mirror=50)


def test_a_change_reaches_into_the_guard_and_null_gives_the_default_back() -> None:
    route = plan_route(mirror=100, guard=Guard(min_requests=500, min_agreement=0.9), always=("tenant-a",))
    wanted = amend(route, '{"guard": {"min_agreement": null, "error_z": 4}, "always": null}')
    assert wanted.guard == Guard(min_requests=500, error_z=4.0)
    assert wanted.always == ()


@pytest.mark.parametrize(
    ("change", "weight"),
    [
        ({"canary": "3"}, None),
        ({"steps": []}, None),
        ({"canary": "3", "weight": 5}, 5),
        ({"always": ["key_1"]}, 500),
    ],
)
def test_another_pair_or_plan_does_not_inherit_the_weight(
    change: dict[str, object], weight: int | None
) -> None:
    assert amend(by_hand(steps=PLAN), json.dumps(change)).weight == weight


@pytest.mark.parametrize(("change", "weight"), [({"always": ["key_1"]}, None), ({"weight": 100}, 100)])
def test_the_weight_of_a_plan_that_is_followed_is_asked_for_only_by_name(
    change: dict[str, object], weight: int | None
) -> None:
    assert amend(plan_route(), json.dumps(change)).weight == weight


@pytest.mark.parametrize("change", ['{"weight": 10001}', '{"colour": 1}', "[]", "{", '{"stable": null}'])
def test_a_change_that_does_not_fit_is_refused(change: str) -> None:
    with pytest.raises(ValidationFailed):
        amend(plan_route(), change)


def test_the_route_as_it_stands_asks_for_itself() -> None:
    assert wanted_of(default_route("pets", "1")) == Wanted("1", weight=0)


def test_of_many_wrong_fields_some_are_told() -> None:
    with pytest.raises(ValidationFailed) as refused:
        read_wanted(json.dumps({"stable": "1", **{f"x{number}": 0 for number in range(1000)}}))
    assert 0 < len(refused.value.errors) <= 20
