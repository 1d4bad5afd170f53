"""The bench: contestants in front of one Triton, measured by turns. `python -m bench` runs it, docs/benchmarks.md is its report."""
