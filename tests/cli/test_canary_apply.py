"""`gateway canary apply`: routes as a file says them."""

import json
from pathlib import Path

import pytest
from support.admin_server import AdminServer, Run


def written(folder: Path, text: str) -> str:
    path = folder / "routes.yaml"
    path.write_text(text, "utf-8")
    return str(path)


FILE = "routes:\n  pets: {stable: 1, canary: 2, weight: 5%, lease: 2h}\n  finder: {stable: 1}\n"


def test_apply_shows_the_difference_asks_and_is_done_once(
    run: Run, server: AdminServer, tmp_path: Path
) -> None:
    path = written(tmp_path, FILE)
    result = run("apply", "-f", path, stdin="y\n")
    assert result.exit_code == 0
    assert "--- pets  generation 0\n+++ pets  file\n" in result.stdout
    assert "\n+canary: '2'\n" in result.stdout
    assert "\n-weight: 0 %\n" in result.stdout
    assert "finder: no change" in result.stdout
    assert "pets: steady, stable 1, 5 % on 2 (generation 1)" in result.stdout
    assert ("PUT", "/admin/v1/canaries/pets", '"0"') in server.seen
    again = run("apply", "-f", path)
    assert (again.exit_code, again.stdout) == (0, "pets: no change\nfinder: no change\n")
    assert server.fake.generation("pets") == 1


@pytest.mark.parametrize("stdin", ["n\n", ""])
def test_apply_changes_nothing_without_a_yes(
    run: Run, server: AdminServer, tmp_path: Path, stdin: str
) -> None:
    assert run("apply", "-f", written(tmp_path, FILE), stdin=stdin).exit_code == 1
    assert server.fake.generation("pets") == 0


def test_a_dry_run_exits_with_2_where_something_would_change(
    run: Run, server: AdminServer, tmp_path: Path
) -> None:
    path = written(tmp_path, FILE)
    assert run("apply", "-f", path, "--dry-run").exit_code == 2
    assert server.fake.generation("pets") == 0
    assert run("apply", "-f", path, "--yes").exit_code == 0
    assert run("apply", "-f", path, "--dry-run").exit_code == 0


def test_apply_does_not_begin_again_what_was_rolled_back(
    run: Run, server: AdminServer, tmp_path: Path
) -> None:
    path = written(tmp_path, "routes: {pets: {stable: 1, canary: 2, steps: [1%, 100%]}}")
    run("apply", "-f", path, "--yes")
    run("rollback", "pets", "--reason", "12 % errors")
    held = run("apply", "-f", path, "--yes")
    assert (held.exit_code, held.stdout) == (0, "pets: version 2 was rolled back: 12 % errors\n")
    begun = run("apply", "-f", path, "--yes", "--restart")
    assert "pets: begins again: version 2 was rolled back: 12 % errors" in begun.stdout
    assert "progressing, stable 1, 1 % on 2 (generation 3)" in begun.stdout


def test_a_model_that_fails_does_not_hold_up_the_others(
    run: Run, server: AdminServer, tmp_path: Path
) -> None:
    server.fake.failing_checks = ["not loaded"]
    path = written(tmp_path, FILE.replace("finder: {stable: 1}", "finder: {stable: 1, canary: 2, weight: 0}"))
    result = run("apply", "-f", path, "--yes", "--json")
    assert result.exit_code == 1
    assert "pets: Pre-flight failed: Version 2 is not fit for traffic.\n  not loaded" in result.stderr
    assert "1 of 2 routes could not be changed" in result.stderr
    told = json.loads(result.stdout)
    assert [(found["model"], found["state"]) for found in told] == [("pets", "failed"), ("finder", "differs")]
    assert server.fake.standing("finder")[0].canary == "2"


def test_apply_that_lost_a_race_says_who_won(run: Run, server: AdminServer, tmp_path: Path) -> None:
    def somebody_else() -> None:
        server.fake.before_change = lambda: None
        server.fake.put("pets", server.fake.standing("pets")[0], "freeze", "key_other")

    server.fake.before_change = somebody_else
    result = run("apply", "-f", written(tmp_path, FILE), "--yes")
    assert result.exit_code == 1
    assert "key_other  freeze -> generation 1" in result.stderr
    assert server.fake.generation("pets") == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("routes: {pets: {stable: 1, weigth: 5%}}", "routes.pets.weigth"),
        ("routes: {dogs: {stable: 1}}", "There is no model dogs."),
    ],
)
def test_apply_refuses_a_file_before_anything_is_changed(
    run: Run, server: AdminServer, tmp_path: Path, text: str, says: str
) -> None:
    result = run("apply", "-f", written(tmp_path, text), "--yes")
    assert result.exit_code == 1
    assert says in result.stderr
    assert not [call for call in server.seen if call[0] != "GET"]
