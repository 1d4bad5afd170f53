"""`gateway canary set` and the actions: what is sent, and what is said about it."""

import re
import time
from dataclasses import replace

from support.admin_server import AdminServer, Run


def test_set_sends_what_was_read_and_prints_old_and_new(run: Run, server: AdminServer, rollout: None) -> None:
    result = run("set", "pets", "--weight", "1000", "--lease", "2h", "--sticky", "header:X-User-Id")
    assert result.exit_code == 0
    assert re.search(r"^  weight +5 % -> 10 %$", result.stdout, re.MULTILINE)
    assert re.search(r"^  sticky +principal -> header:X-User-Id$", result.stdout, re.MULTILINE)
    assert "(generation 2)" in result.stdout
    assert server.seen[-2:] == [
        ("GET", "/admin/v1/canaries/pets", None),
        ("PATCH", "/admin/v1/canaries/pets", '"1"'),
    ]
    route, _ = server.fake.standing("pets")
    assert route.lease is not None
    assert 7190 < route.lease - time.time() <= 7200


def test_set_begins_a_plan(run: Run, server: AdminServer) -> None:
    plan = ("--steps", "1%,50%,100%", "--step-seconds", "2m", "--step-requests", "10")
    result = run("set", "pets", "--canary", "2", *plan, "--mirror", "10%", "--min-agreement", "90%")
    assert result.exit_code == 0
    assert "steps" in result.stdout
    assert "none -> 1 %, 50 %, 100 %; each 2m and 10 requests" in result.stdout
    assert "pets: progressing, stable 1, 1 % on 2 (generation 1) - Step 1 of 3: 1 %." in result.stdout
    assert "under_way" not in result.stdout  # the phase and the weight say it
    assert server.fake.standing("pets")[0].guard.min_agreement == 0.9


def test_set_that_lost_a_race_changes_nothing_and_says_who_won(
    run: Run, server: AdminServer, rollout: None
) -> None:
    def somebody_else() -> None:
        server.fake.before_change = lambda: None
        route, _ = server.fake.standing("pets")
        server.fake.put("pets", replace(route, weight=7000), "patch", "key_other", "hurry")

    server.fake.before_change = somebody_else
    result = run("set", "pets", "--weight", "10%")
    assert result.exit_code == 1
    assert "Precondition failed: The route is at generation 2." in result.stderr
    assert "key_other  patch -> generation 2  hurry" in result.stderr
    assert "generation 1 " not in result.stderr
    assert server.fake.standing("pets")[0].weight == 7000


def test_a_refused_pre_flight_gives_its_reasons(run: Run, server: AdminServer) -> None:
    server.fake.failing_checks = ["version 2 is not loaded", "labels: 3 against 2"]
    result = run("set", "pets", "--canary", "2", "--weight", "5%")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "Error: Pre-flight failed: Version 2 is not fit for traffic.",
        "  version 2 is not loaded",
        "  labels: 3 against 2",
    ]


def test_a_wrong_field_is_named(run: Run) -> None:
    result = run("set", "pets", "--canary", "two")
    assert result.exit_code == 1
    assert "Error: Validation failed: The route cannot be made like this.\n  /canary: " in result.stderr


def test_a_bound_on_agreement_without_a_mirror_names_both_ways_out(run: Run) -> None:
    result = run("set", "pets", "--canary", "2", "--weight", "0", "--min-agreement", "90%")
    assert result.exit_code == 1
    assert "--mirror" in result.stderr
    assert "--min-agreement none" in result.stderr


def test_actions_move_a_rollout_on(run: Run, server: AdminServer) -> None:
    assert run("set", "pets", "--canary", "2", "--steps", "1%,100%").exit_code == 0
    for words, says in [
        (("pause",), "paused"),
        (("resume",), "progressing"),
        (("freeze",), "frozen"),
        (("unfreeze",), "progressing, stable"),
        (("abort",), "Aborted at 1 %."),
        (("undo",), "paused"),
        (("rollback", "--reason", "pager"), "rolled-back, stable 1, 0 % on 2 (generation 8) - pager"),
    ]:
        result = run(words[0], "pets", *words[1:])
        assert result.exit_code == 0, result.stderr
        assert says in result.stdout
    assert ("POST", "/admin/v1/canaries/pets/rollback", None) in server.seen
    assert ("GET", "/admin/v1/canaries/pets", None) not in server.seen[1:]


def test_promote_makes_the_canary_stable_and_refuses_twice(run: Run, rollout: None) -> None:
    assert "promoted, stable 2, no canary" in run("promote", "pets").stdout
    again = run("promote", "pets")
    assert again.exit_code == 1
    assert again.stderr == "Error: Route conflict: There is no canary.\n"


def test_an_action_can_be_bound_to_a_generation(run: Run, server: AdminServer, rollout: None) -> None:
    result = run("promote", "pets", "--generation", "0")
    assert result.exit_code == 1
    assert "key_me  patch -> generation 1" in result.stderr
    assert run("promote", "pets", "--generation", "1").exit_code == 0
