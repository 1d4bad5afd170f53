"""The figures of a run: medians of turns, however deep they lie in its results."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MISSING = math.nan


@dataclass(frozen=True)
class Row:
    """The turns of one contestant. Every figure is the median of its turns; NaN where there are none."""

    turns: list[dict[str, Any]]

    def _median(self, values: list[float]) -> float:
        return statistics.median(values) if values else MISSING

    @property
    def rate(self) -> float:
        return self._median([turn["requests"] / turn["seconds"] for turn in self.turns])

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return self._median([turn["p50"] * 1e3 for turn in self.turns])

    @property
    def p99(self) -> float:
        """Milliseconds."""
        return self._median([turn["p99"] * 1e3 for turn in self.turns])

    def cpu(self, *names: str) -> float:
        """Microseconds a request of these processes, or of all; 0 for one that took no part."""
        return self._median(
            [
                sum(turn["cpu"].get(name, 0.0) for name in names or turn["cpu"]) / turn["requests"] * 1e6
                for turn in self.turns
            ]
        )

    def cores(self) -> float:
        """How many all processes together kept busy."""
        return self.rate * self.cpu() / 1e6


@dataclass(frozen=True)
class Run:
    """A run's results as they were written."""

    results: Mapping[str, Any]

    def rows(self, section: str, *inner: str) -> dict[str, Row]:
        """The contestants of a section that came to its end; empty where there are none."""
        found = self.results["sections"].get(section, {})
        for name in inner:
            found = found.get(name, {})
        return {name: Row(turns) for name, turns in found.items() if turns}

    def row(self, name: str, *section: str) -> Row:
        return self.rows(*section).get(name, Row([]))

    def section(self, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.results["sections"].get(name, {})
        return found
