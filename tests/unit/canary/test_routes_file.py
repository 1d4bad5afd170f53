"""A routes file is read strictly, in words that people use."""

from pathlib import Path
from typing import Any

import pytest

from gateway.canary.routes_file import RoutesFileError, read_routes_file

WHOLE = """
routes:
  pets:
    stable: 1
    canary: "2"
    sticky: header:X-User-Id
    mirror: 10 %
    lease: 2h
    always: [tenant-a]
    guard: {min_agreement: 90%, latency_factor: null}
    steps: [1%, 500, {weight: 25%, seconds: 10m, min_requests: 1000}]
    lives: {1: {deprecated_at: 2027-01-01, sunset_at: 2027-02-01T12:00:00Z}}
  finder:
    stable: 3
"""
BODY = {
    "stable": "1",
    "canary": "2",
    "sticky": "header:X-User-Id",
    "mirror": 1000,
    "lease": 7200.0,
    "always": ["tenant-a"],
    "guard": {"min_agreement": 0.9, "latency_factor": None},
    "steps": [{"weight": 100}, {"weight": 500}, {"weight": 2500, "seconds": 600.0, "min_requests": 1000}],
    "lives": {"1": {"deprecated_at": 1798761600.0, "sunset_at": 1801483200.0}},
}


def written(folder: Path, text: str, name: str = "routes.yaml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def read(folder: Path, text: str) -> dict[str, Any]:
    return dict(read_routes_file(written(folder, text)))


def test_percentages_durations_dates_and_bare_versions_become_what_the_api_takes(tmp_path: Path) -> None:
    assert read(tmp_path, WHOLE) == {"pets": BODY, "finder": {"stable": "3"}}


def test_a_file_called_toml_is_toml(tmp_path: Path) -> None:
    text = '[routes.pets]\nstable = 1\ncanary = "2"\nsteps = ["5%", 10000]\n'
    found = read_routes_file(written(tmp_path, text, "routes.toml"))
    assert found == {"pets": {"stable": "1", "canary": "2", "steps": [{"weight": 500}, {"weight": 10_000}]}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("- pets", "one table `routes`", id="a list"),
        pytest.param("", "one table `routes`", id="nothing"),
        pytest.param("routes: {}\nroute: {}", "nothing beside it", id="a second table"),
        pytest.param("routes: {pets: 5%}", "routes.pets: fields are expected", id="no fields"),
        pytest.param("routes: {'a/b': {stable: 1}}", "not a name of a model", id="not a name"),
        pytest.param("routes: {1: {stable: 1}}", "not a name of a model", id="a number as a name"),
        pytest.param(
            "routes: {pets: {canary: 2}}", "routes.pets.stable: Field required", id="no stable version"
        ),
        pytest.param("routes: {pets: {stable: 1, weigth: 5%}}", "routes.pets.weigth:", id="a typo"),
        pytest.param(
            "routes: {pets: {stable: 1, canary: 2, weight: 500%}}",
            "routes.pets.weight: '500%'",
            id="too much weight",
        ),
        pytest.param(
            "routes: {pets: {stable: 1, canary: 2, weight: 0.5}}", "routes.pets.weight", id="half a point"
        ),
        pytest.param(
            "routes: {pets: {stable: 1, canary: 2, lease: soon}}", "routes.pets.lease: 'soon'", id="a lease"
        ),
        pytest.param(
            "routes: {pets: {stable: 1, canary: 1}}", "the canary is the stable version", id="itself"
        ),
        pytest.param(
            "routes: {pets: {stable: 1, canary: 2, steps: [5%, 1%]}}", "have to rise", id="steps that fall"
        ),
        pytest.param(
            "routes: {pets: {stable: 1, stable: 2}}", "line 1: stable stands twice", id="a key twice"
        ),
        pytest.param("routes: {pets: {stable: true}}", "routes.pets.stable", id="a version that is true"),
        pytest.param("routes: {pets: {stable: 2027-01-01}}", "routes.pets", id="a date as a version"),
        pytest.param("routes: {pets: {stable: 1", "expected", id="broken YAML"),
        pytest.param(
            "routes: !!python/object:os.system {}", "could not determine a constructor", id="an object"
        ),
        pytest.param("routes: {? [1] : 2}", "unhashable key", id="a list as a key"),
        pytest.param("[" * 2000, "routes.yaml: ", id="depth"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RoutesFileError) as refused:
        read(tmp_path, text)
    assert says in str(refused.value)
    assert "routes.yaml" in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RoutesFileError, match=r"absent\.yaml"):
        read_routes_file(tmp_path / "absent.yaml")
