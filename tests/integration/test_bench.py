"""The bench runs, on short turns and without the other contestants, and writes its report; no figure is judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

from stack import ROOT

SECONDS = 300


def test_the_bench_runs_and_writes_its_report(tmp_path: Path) -> None:
    report, results = tmp_path / "benchmarks.md", tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--report", str(report), "--results", str(results)],
        env={**os.environ, "PYTHONPATH": "dev:benchmarks"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sections = json.loads(results.read_text())["sections"]
    assert {"calibration", "tensor", "jpeg", "detect", "everything", "memory"} <= set(sections)
    text = report.read_text()
    assert "## Targets" in text
    # It is composed outside the gateway, and drops out when it is left behind.
    assert "| gateway, all off |" in text
    for picture in ("bench-tensor-rate", "bench-tensor-cpu", "bench-jpeg-cpu"):
        assert f"images/{picture}.png" in text
        assert (tmp_path / "images" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
