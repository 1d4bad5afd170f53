"""`python -m bench`: everything by turns, then docs/benchmarks.md. `--quick` only shows that it runs; `--render` writes
the report of the last run again."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack import ROOT, RUN

from bench import about, field, report, sections
from bench.contestants import Pace
from bench.field import Field

RESULTS = RUN / "bench" / "results.json"
_FULL = Pace(rounds=3, seconds=3.0)
_QUICK = Pace(rounds=1, seconds=0.3, together=(2,), warm_up=False)
_LATEST = 15 * 60  # seconds after which no further section begins

Section = Callable[[Field, Pace], Any]


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    results = options.results
    if not options.render:
        found = measured(quick=options.quick)
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(found, indent=1))
    report.write(json.loads(results.read_text()), options.report)
    print(f"written: {options.report}")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--render", action="store_true")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


def measured(*, quick: bool) -> dict[str, Any]:
    """All sections; one that fails leaves its reason and no figures."""
    pace = _QUICK if quick else _FULL
    began = time.monotonic()
    found: dict[str, Any] = {"about": about.machine(), "quick": quick, "sections": {}}

    def missing(name: str, reason: str) -> None:
        print(f"without {name}: {reason}", flush=True)
        pace.failures[name] = reason

    with field.started(() if quick else field.all_names(), missing) as running:
        found["about"] |= about.versions(running)
        for name, section in chosen(quick=quick).items():
            print(f"{time.monotonic() - began:5.0f} s  {name}", flush=True)
            if time.monotonic() - began > _LATEST:
                pace.failures[name] = "no time left"
                continue
            try:
                found["sections"][name] = section(running, pace)
            except Exception as error:  # noqa: BLE001  # whatever it is, the other sections go on
                print(f"        {error}", flush=True)
                pace.failures[name] = f"{type(error).__name__}: {error}"
    found["failures"], found["seconds"] = pace.failures, time.monotonic() - began
    return found


def chosen(*, quick: bool) -> dict[str, Section]:
    requests = 1_000 if quick else 100_000
    return {
        "calibration": sections.calibration,
        "tensor": sections.tensor,
        "paced": sections.tensor_paced,
        "added": sections.added,
        "json": sections.json,
        "jpeg": sections.jpeg,
        "detect": sections.detect,
        "transport": sections.transport,
        "everything": sections.everything,
        "workers": sections.workers,
        "batches": sections.batches,
        "memory": lambda running, _: sections.memory(running, requests),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
