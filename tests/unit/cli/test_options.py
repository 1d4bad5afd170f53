"""Options become a merge patch."""

from typing import Any

import click
import pytest

from gateway.cli.canary.options import NONE, merge_patch, weights


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"weight": 500}, {"weight": 500}),
        ({"weight": 0}, {"weight": 0}),
        ({"stable": "1", "canary": "2", "sticky": "cookie:uid", "mirror": 1}, None),
        ({"canary": NONE}, {"canary": None, "steps": [], "mirror": 0, "lease": None}),
        ({"lease": 7200.0}, {"lease": 7200.0}),
        ({"lease": NONE}, {"lease": None}),
        ({"always": ("a", "b")}, {"always": ["a", "b"]}),
        ({"always": (NONE,)}, {"always": []}),
        ({"steps": NONE}, {"steps": []}),
        ({"min_agreement": NONE, "window": 5}, {"guard": {"min_agreement": None, "window": 5}}),
        (
            {"steps": [100, 500], "step_seconds": 60.0, "step_requests": 0},
            {
                "steps": [
                    {"weight": 100, "seconds": 60.0, "min_requests": 0},
                    {"weight": 500, "seconds": 60.0, "min_requests": 0},
                ]
            },
        ),
    ],
)
def test_what_was_given_is_sent_and_nothing_else(given: dict[str, Any], body: dict[str, Any] | None) -> None:
    absent = {"stable": None, "lease": None, "always": (), "guard": None}
    assert merge_patch({**absent, **given}) == (given if body is None else body)


def test_nothing_given_is_refused() -> None:
    with pytest.raises(click.UsageError, match="at least one option"):
        merge_patch({"weight": None, "always": ()})


def test_bounds_of_steps_without_steps_are_refused() -> None:
    with pytest.raises(click.UsageError, match="belong to --steps"):
        merge_patch({"step_seconds": 60.0})


def test_weights_are_a_list_that_rises() -> None:
    assert weights("1%,5%,25%, 50%,10000") == [100, 500, 2500, 5000, 10_000]


@pytest.mark.parametrize("text", ["5%,1%", "5%,5%", "0,5%", "5%,", ""])
def test_weights_that_do_not_rise_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"rise|neither"):
        weights(text)
