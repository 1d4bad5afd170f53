"""The table of metrics: complete, bounded, and the same as in the documentation."""

from pathlib import Path

import pytest
from exposition import Exposition
from stack import ROOT

from gateway.telemetry.definitions import ALL, Across, Definition, Kind
from gateway.telemetry.metrics import Metrics

STATUSES = 20  # different ones that the gateway answers with, at most
WORKERS = 2


def most_series(definition: Definition) -> int:
    """What the metric can come to: a histogram has its buckets, the infinite one, its sum and its count."""
    sets = definition.most + (STATUSES if definition.kept else bool(definition.labels))
    each = len(definition.buckets) + 3 if definition.kind is Kind.HISTOGRAM else 1
    return sets * each * (WORKERS if definition.across is Across.EACH else 1)


def test_all_metrics_together_stay_below_two_thousand_series() -> None:
    assert sum(map(most_series, ALL)) < 2000


def test_every_metric_that_is_defined_is_counted_and_no_other() -> None:
    text = Metrics().text().decode()
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert shown == {definition.name for definition in ALL}


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.name)
def test_names_follow_the_conventions(definition: Definition) -> None:
    assert definition.name.startswith("gateway_")
    assert definition.name.endswith("_total") == (definition.kind is Kind.COUNTER)
    if definition.kind is Kind.HISTOGRAM:
        assert definition.name.endswith(("_seconds", "_bytes"))
    assert "pid" not in definition.labels


def row(definition: Definition) -> str:
    labels = ", ".join(f"`{name}`" for name in definition.labels)
    if definition.across is Across.EACH:
        labels = ", ".join(filter(None, [labels, "`pid`"]))
    return f"| `{definition.name}` | {definition.kind} | {labels or '-'} | {definition.text} |"


def test_the_documentation_shows_this_table() -> None:
    lines = Path(ROOT, "docs", "metrics.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("| `gateway_")] == [row(each) for each in ALL]


def test_a_scrape_is_what_the_parser_of_prometheus_reads() -> None:
    assert Exposition(Metrics().text().decode()).total("gateway_workers") == 1
