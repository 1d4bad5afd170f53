"""`gateway canary list|show|check|report|events`: what they print."""

import json
import re

import pytest
from support.admin_server import AdminServer, Run
from support.fake_admin import agreement, side


def test_list_shows_every_model(run: Run, rollout: None) -> None:
    result = run("list")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert next(row for row in rows if row[:1] == ["pets"])[:8] == [
        "pets",
        "1",
        "2",
        "5",
        "%",
        "0",
        "%",
        "steady",
    ]
    assert any(row[:1] == ["finder"] for row in rows)


def test_show_says_all_of_a_route(run: Run, rollout: None) -> None:
    result = run("show", "pets")
    assert "pets, generation 1" in result.stdout
    assert re.search(r"^  weight +5 %$", result.stdout, re.MULTILINE)
    assert "min_agreement none" in result.stdout


@pytest.mark.parametrize(
    ("words", "has"),
    [
        (("list",), "canaries"),
        (("show", "pets"), "guard"),
        (("check", "pets", "--to", "2"), "checks"),
        (("report", "pets"), "agreement"),
        (("events", "pets"), "events"),
        (("set", "pets", "--mirror", "0"), "mirror"),
        (("rollback", "pets"), "phase"),
    ],
)
def test_json_is_what_the_gateway_answered(run: Run, rollout: None, words: tuple[str, ...], has: str) -> None:
    result = run(*words, "--json")
    assert result.exit_code == 0
    assert has in json.loads(result.stdout)


def test_check_prints_each_check(run: Run, server: AdminServer) -> None:
    result = run("check", "pets", "--to", "2")
    assert result.exit_code == 0
    assert "pass  loaded: Versions 1 and 2 are loaded." in result.stdout
    server.fake.failing_checks = ["no answer in 5 s"]
    result = run("check", "pets", "--to", "2")
    assert result.exit_code == 1
    assert "FAIL  warm-up: no answer in 5 s" in result.stdout
    assert result.stdout.endswith("version 2 of pets is not fit for traffic\n")


def test_report_compares_the_versions(run: Run, server: AdminServer, rollout: None) -> None:
    server.fake.reports["pets"] = {
        "canary": side("2", 50, 5),
        "agreement": agreement(
            *(40, 30),
            overlap=0.8,
            score_drift=-0.0123,
            classes={"cat": {"agreed": 5, "changed_from": 3, "changed_to": 0, "missed": 0, "extra": 0}},
            dropped={"busy": 7},
            disagreements=[{}, {}],
        ),
        "decision": {"verdict": "roll-back", "cause": "errors", "detail": "10 % errors against 0 %."},
    }
    out = run("report", "pets").stdout.splitlines()
    assert ["canary", "2", "50", "5", "(10", "%)", "4.0", "ms", "9.5", "ms"] in [line.split() for line in out]
    assert out[-7:] == [
        "agreement    75 % of 40",
        "overlap      0.800",
        "score drift  -0.012",
        "class        cat: 5 agreed, 3 changed from",
        "dropped      7 busy",
        "kept         2 disagreements; --json shows them",
        "decision     roll-back: 10 % errors against 0 %.",
    ]


def test_callers_lists_who_still_calls_a_version(run: Run, server: AdminServer) -> None:
    server.fake.callers["pets", "1"] = [
        {"tenant": "shop", "id": "key_a", "last_seen": "2027-01-01T01:02:03.5+01:00"}
    ]
    assert run("callers", "pets", "1").stdout.split()[-4:] == ["shop", "key_a", "2027-01-01", "00:02:03Z"]
    assert json.loads(run("callers", "pets", "2", "--json").stdout) == {"callers": []}


def test_events_tell_who_changed_what(run: Run, rollout: None) -> None:
    run("set", "pets", "--weight", "10%", "--lease", "1h")
    run("rollback", "pets", "--reason", "pager")
    newest, middle, oldest = run("events", "pets").stdout.splitlines()[2:]
    assert "key_me  rollback" in re.sub(" +", "  ", newest)
    assert newest.rstrip().endswith(
        "pager; phase steady -> rolled-back; weight 10 % -> 0 %; lease 1h -> none"
    )
    assert middle.rstrip().endswith("weight 5 % -> 10 %; lease none -> 1h")
    assert oldest.rstrip().endswith("stable 1; canary 2; weight 5 %")
