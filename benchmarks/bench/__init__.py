"""Contestants in front of one Triton, measured by turns: `python -m bench`, which writes docs/benchmarks.md."""
