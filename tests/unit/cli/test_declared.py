"""What a routes file asks for against what stands."""

from typing import Any

import pytest
from unit.cli.routes import STEPS, route

from gateway.cli.admin_client import Answer
from gateway.cli.canary.declared import Comparison, Standing, compare

BY_HAND = {"stable": "1", "canary": "2", "weight": 500}
PLAN = {"stable": "1", "canary": "2", "steps": STEPS}


def compared(body: dict[str, Any], standing: dict[str, Any], *, restart: bool = False) -> Comparison:
    return compare("pets", body, Answer(standing, '"7"'), restart=restart)


@pytest.mark.parametrize(
    ("body", "standing"),
    [
        pytest.param(BY_HAND, route(), id="set by hand as the file says"),
        pytest.param({"stable": "1"}, route(canary=None, weight=0, under_way=False), id="no canary"),
        pytest.param(
            {"stable": "1", "canary": "2", "weight": 0},
            route(weight=0, under_way=False),
            id="a canary that is named and not tried",
        ),
        pytest.param(
            PLAN,
            route(steps=STEPS, weight=100, phase="progressing", step=0),
            id="a plan that runs, at any weight",
        ),
        pytest.param(
            PLAN, route(steps=STEPS, weight=100, phase="paused", step=0), id="a plan that was paused"
        ),
        pytest.param({**BY_HAND, "lease": 7200.0}, route(lease=31.5), id="a lease that runs"),
        pytest.param(
            {**BY_HAND, "steps": [{"weight": 100}]}, route(steps=STEPS[:1]), id="numbers of another kind"
        ),
    ],
)
def test_nothing_is_to_be_done_where_the_file_has_its_way(
    body: dict[str, Any], standing: dict[str, Any]
) -> None:
    found = compared(body, standing)
    assert (found.state, found.diff, found.note) == (Standing.SAME, (), "")


def test_a_difference_is_shown_in_the_words_of_a_file() -> None:
    found = compared({**BY_HAND, "weight": 1000, "lease": 5400.0}, route())
    assert found.state is Standing.DIFFERS
    assert found.diff[:2] == ("--- pets  generation 7", "+++ pets  file")
    assert [line for line in found.diff[2:] if line[0] in "+-"] == [
        "-weight: 5 %",
        "+weight: 10 %",
        "+lease: 1h30m",
    ]


def test_a_field_that_the_file_does_not_name_goes_back_to_its_default() -> None:
    found = compared(BY_HAND, route(mirror=1000, always=["tenant-a"]))
    changed = [line for line in found.diff[2:] if line[0] in "+-"]
    assert changed == ["-mirror: 10 %", "+mirror: 0 %", "-always:", "-- tenant-a", "+always: []"]


OVER = [
    pytest.param(
        BY_HAND,
        route(phase="rolled-back", under_way=False, weight=0, reason="errors"),
        "was rolled back: errors",
        id="back",
    ),
    pytest.param(
        PLAN,
        route(steps=STEPS, weight=0, phase="rolled-back", under_way=False),
        "was rolled back",
        id="a plan, back",
    ),
    pytest.param(
        {**PLAN, "mirror": 500},
        route(steps=STEPS, weight=0, under_way=False, reason="Aborted at 5 %."),
        "has ended: Aborted at 5 %.",
        id="a plan, aborted",
    ),
    pytest.param(
        PLAN, route(steps=STEPS, weight=500), "does not run: Set by hand", id="a plan, taken over by hand"
    ),
    pytest.param(
        BY_HAND,
        route(weight=0, under_way=False, reason="The lease ended at 5 %."),
        "has ended: The lease ended at 5 %.",
        id="a weight, its lease over",
    ),
    *(
        pytest.param(
            {"stable": "1", "canary": "2", **asked},
            route(weight=0, under_way=False, reason="Aborted at 0 %."),
            "has ended",
            id=f"{next(iter(asked))}, aborted",
        )
        for asked in ({"mirror": 500}, {"lease": 60.0}, {"always": ["tenant-a"]})
    ),
    pytest.param(
        PLAN,
        route(stable="2", canary=None, weight=0, under_way=False, phase="promoted"),
        "let the file say stable: 2",
        id="promoted",
    ),
]


@pytest.mark.parametrize(("body", "standing", "note"), OVER)
def test_a_rollout_that_is_over_is_not_begun_again_by_itself(
    body: dict[str, Any], standing: dict[str, Any], note: str
) -> None:
    found = compared(body, standing)
    assert (found.state, found.diff) == (Standing.OVER, ())
    assert note in found.note


@pytest.mark.parametrize(("body", "standing", "note"), OVER)
def test_a_rollout_that_is_over_is_begun_again_on_demand(
    body: dict[str, Any], standing: dict[str, Any], note: str
) -> None:
    found = compared(body, standing, restart=True)
    assert found.state is Standing.DIFFERS
    assert note in found.note


@pytest.mark.parametrize(
    ("body", "standing"),
    [
        pytest.param(
            {**BY_HAND, "canary": "3"},
            route(phase="rolled-back", under_way=False, weight=0),
            id="another canary",
        ),
        pytest.param({**PLAN, "steps": STEPS[1:]}, route(steps=STEPS), id="another plan"),
        pytest.param(
            {"stable": "1"}, route(phase="rolled-back", under_way=False, weight=0), id="no canary any more"
        ),
        pytest.param(
            {"stable": "2", "canary": "3", "weight": 100},
            route(stable="2", canary=None, weight=0, under_way=False, phase="promoted"),
            id="the next rollout",
        ),
    ],
)
def test_another_rollout_is_a_difference(body: dict[str, Any], standing: dict[str, Any]) -> None:
    assert compared(body, standing).state is Standing.DIFFERS


def test_a_route_that_cannot_be_read_is_set_again_also_where_the_last_good_one_is_as_the_file_says() -> None:
    found = compared(BY_HAND, route(unreadable="wrong or missing: colour"))
    assert (found.state, found.diff) == (Standing.DIFFERS, ())
    assert "wrong or missing: colour" in found.note
