"""A route's document: read back whole, the same text for the same route, and nothing that contradicts itself."""

import json
from dataclasses import replace

import pytest

from gateway.canary.route import (
    BrokenRoute,
    Guard,
    Life,
    Phase,
    Route,
    Source,
    Step,
    Sticky,
    default_route,
    from_document,
    to_document,
)

FULL = Route(
    model="pets",
    stable="1",
    canary="2",
    weight=500,
    salt="r-7",
    sticky=Sticky(Source.HEADER, "X-User-Id"),
    mirror=1000,
    guard=Guard(latency_factor=None, min_agreement=0.9, window=5),
    steps=(Step(100), Step(500, 30.5, 1000), Step(10_000)),
    lease=1_900_000_000.25,
    always=("tenant-a", "key_1"),
    lives={"1": Life(1.0, 2.0), "10": Life(sunset_at=3.0)},
    frozen=True,
    phase=Phase.PROGRESSING,
    step=1,
    step_started_at=1_800_000_000.5,
    reason="step 2 of 3: 5 % „Zoë“",
    since=1_800_000_000.5,
)


@pytest.mark.parametrize("route", [default_route("pets", "1"), FULL], ids=["default", "with everything"])
def test_a_document_is_read_back_whole(route: Route) -> None:
    assert from_document(to_document(route)) == route


@pytest.mark.parametrize("model", ["_private", "m" * 255, "a b", "ÄÖ"])
@pytest.mark.parametrize("version", ["1", "1764288000000000000", "9223372036854775807"])
def test_whatever_triton_calls_a_model_and_its_versions_can_have_a_route(model: str, version: str) -> None:
    route = default_route(model, version)
    assert from_document(to_document(route)) == route


def test_equal_routes_are_equal_texts_however_they_came_to_be() -> None:
    turned = replace(FULL, lives=dict(reversed(FULL.lives.items())))
    assert to_document(turned) == to_document(FULL)
    shuffled = json.dumps(dict(reversed(json.loads(to_document(FULL)).items())), indent=1)
    assert to_document(from_document(shuffled)) == to_document(FULL)


def test_by_default_everything_goes_to_the_stable_version() -> None:
    route = default_route("pets", "3")
    assert (route.stable, route.canary, route.weight, route.mirror) == ("3", None, 0, 0)
    assert not route.under_way


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"colour": "red"}, "colour"),
        ({"weight": 10_001}, "weight"),
        ({"weight": -1}, "weight"),
        ({"weight": "500"}, "weight"),
        ({"weight": 500.0}, "weight"),
        ({"frozen": 1}, "frozen"),
        ({"mirror": True}, "mirror"),
        ({"stable": 1}, "stable"),
        ({"stable": "latest"}, "stable"),
        ({"stable": "01"}, "stable"),
        ({"model": "../pets"}, "model"),
        ({"model": None}, "model"),
        ({"sticky": "header"}, "sticky"),
        ({"sticky": "header:X User"}, "sticky"),
        ({"sticky": "principal:x"}, "sticky"),
        ({"sticky": {"kind": "header", "name": "X"}}, "sticky"),
        ({"guard": {"min_requests": 5}}, "guard.min_requests"),
        ({"guard": {"latency_factor": 1.1}}, "guard.latency_factor"),
        ({"guard": {"patience": 1}}, "guard.patience"),
        ({"steps": [{"weight": 0}]}, "steps.0.weight"),
        ({"steps": [{"seconds": 5}]}, "steps.0.weight"),
        ({"salt": "a\0b"}, "salt"),
        ({"always": [""]}, "always.0"),
        ({"lives": {"x": {}}}, "lives.x.[key]"),
        ({"lease": float("nan")}, "lease"),
        ({"phase": "resting"}, "phase"),
        ({"step_started_at": "now"}, "step_started_at"),
    ],
)
def test_a_field_that_is_wrong_or_not_known_breaks_the_document_and_is_named(
    change: dict[str, object], place: str
) -> None:
    with pytest.raises(BrokenRoute) as broken:
        from_document(json.dumps(json.loads(to_document(FULL)) | change))
    assert place in str(broken.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "{", '"route"'])
def test_what_is_no_route_at_all_is_broken(text: str) -> None:
    with pytest.raises(BrokenRoute):
        from_document(text)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"canary": "1"}, id="the canary is the stable version"),
        pytest.param({"canary": None}, id="a rollout without a canary"),
        pytest.param({"salt": ""}, id="a weight without a rollout"),
        pytest.param(
            {"phase": "rolled-back", "step": -1, "step_started_at": None}, id="rolled back, weight left"
        ),
        pytest.param({"phase": "steady"}, id="a step without a plan that runs"),
        pytest.param({"step": 3}, id="a step that the plan does not have"),
        pytest.param({"step": 0}, id="a weight that is not the step's"),
        pytest.param({"step_started_at": None}, id="a step that never began"),
        pytest.param({"steps": [{"weight": 500}, {"weight": 500}]}, id="steps that do not rise"),
        pytest.param({"lives": {"1": {"deprecated_at": 2, "sunset_at": 1}}}, id="gone before deprecated"),
    ],
)
def test_a_route_that_contradicts_itself_is_broken(change: dict[str, object]) -> None:
    with pytest.raises(BrokenRoute):
        from_document(json.dumps(json.loads(to_document(FULL)) | change))


def test_a_broken_document_is_not_repeated_in_the_error() -> None:
    with pytest.raises(BrokenRoute) as broken:
        from_document('{"model": "s3cret one"}')
    assert "s3cret" not in str(broken.value)


@pytest.mark.parametrize("text", ["principal", "header:X-User-Id", "cookie:uid"])
def test_stickiness_is_written_as_it_was_read(text: str) -> None:
    assert str(Sticky.parse(text)) == text
