"""Rules and alerts: true to Prometheus's own tool, to their unit tests, to the runbook and to the metrics there are."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import ROOT

from gateway.telemetry.definitions import ALL

FOLDER = ROOT / "observability"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted(Path(__file__).parent.glob("*.test.yml"))


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules() -> list[dict[str, Any]]:
    documents = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def test_promtool_takes_the_configuration_and_the_rules_it_names() -> None:
    promtool("check", "config", FOLDER / "prometheus.yml")
    promtool("check", "rules", *RULES)


def test_the_rules_do_what_their_unit_tests_say() -> None:
    promtool("test", "rules", *TESTS)


def test_every_alert_is_tested_to_come_and_to_stay_away() -> None:
    cases = [
        (case["alertname"], bool(case["exp_alerts"]))
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in alerts()}
    assert {name for name, came in cases if came} == names
    assert {name for name, came in cases if not came} == names


def test_every_alert_has_its_entry_in_the_runbook_and_the_other_way_round() -> None:
    entries = re.findall(r"^### (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert sorted(entries) == sorted(rule["alert"] for rule in alerts())
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("part", ["What it means", "Look at", "Do"])
def test_every_entry_says_what_it_means_what_to_look_at_and_what_to_do(part: str) -> None:
    _, *entries = re.split(r"^### \w+$", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    assert all(entry.count(f"**{part}.**") == 1 for entry in entries)


def test_rules_ask_for_metrics_that_the_gateway_has() -> None:
    known = {definition.name for definition in ALL}
    asked = {name for rule in rules() for name in re.findall(r"(?<![:\w])gateway_\w+", rule["expr"])}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} - known == set()
