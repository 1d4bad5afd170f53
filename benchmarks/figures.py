"""What a list of samples says: counts, goodput, percentiles, violations; and rows of a Markdown table."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from load import Sample

OK = 200
SHED = 503


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed; NaN where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


@dataclass(frozen=True)
class Figures:
    """Samples within `seconds`. `good` are the answers 200 within the deadline, `late` those after it."""

    samples: Sequence[Sample]
    seconds: float
    deadline: float = math.inf

    @property
    def statuses(self) -> Mapping[int, int]:
        return dict(sorted(Counter(sample.status for sample in self.samples).items()))

    @property
    def good(self) -> int:
        return sum(s.status == OK and s.latency <= self.deadline for s in self.samples)

    @property
    def late(self) -> int:
        return sum(s.status == OK and s.latency > self.deadline for s in self.samples)

    @property
    def server_errors(self) -> int:
        """5xx, and requests that got no answer at all."""
        return sum(s.status >= 500 or s.status == 0 for s in self.samples)

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.good / self.seconds

    @property
    def success(self) -> float:
        """The share of good answers; NaN of none."""
        return self.good / len(self.samples) if self.samples else math.nan

    def latency(self, share: float, *statuses: int) -> float:
        """A percentile in seconds, of the answers with these statuses; of the 200s where none is named."""
        wanted = statuses or (OK,)
        return percentile((s.latency for s in self.samples if s.status in wanted), share)


def between(
    samples: Iterable[Sample], begin: float, end: float, *streams: str, deadline: float = math.inf
) -> Figures:
    """The figures of the requests that were due in this time, of these streams or of all."""
    chosen = [s for s in samples if begin <= s.due < end and (not streams or s.stream in streams)]
    return Figures(chosen, end - begin, deadline)


def median(rounds: Iterable[Figures], figure: Callable[[Figures], float]) -> float:
    """One figure of a measurement that was repeated: an odd round does not decide it."""
    return percentile(map(figure, rounds), 0.5)


def inversions(
    samples: Sequence[Sample],
    order: Sequence[str],
    *,
    deadline: float,
    begin: float,
    end: float,
    least: int = 20,
) -> int:
    """Seconds in which a less urgent stream succeeded more often than a more urgent one.

    `order` names the streams, the most urgent first; pairs of which one had fewer than `least` requests in the second
    do not count.
    """
    count = 0
    for second in range(math.ceil(begin), math.floor(end)):
        shares = [
            figures.success
            for stream in order
            if len((figures := between(samples, second, second + 1, stream, deadline=deadline)).samples)
            > least
        ]
        count += any(lower > higher for higher, lower in pairwise(shares))
    return count


def ms(seconds: float) -> str:
    return "none" if math.isnan(seconds) else f"{seconds * 1000:.1f} ms"


def share(value: float) -> str:
    return "none" if math.isnan(value) else f"{value * 100:.1f} %"


def table(title: str, columns: Sequence[str], *, say: Callable[[str], None] = print) -> "Callable[..., None]":
    """Prints the head of a Markdown table; the answer prints one row of it."""

    def row(*cells: object) -> None:
        say(f"| {' | '.join(map(str, cells))} |")

    say(f"\n### {title}\n")
    row(*columns)
    row(*("---" for _ in columns))
    return row
