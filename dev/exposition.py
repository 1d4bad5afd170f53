"""Reading what /metrics says: for tests and measurements."""

from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Exposition:
    """One answer of /metrics."""

    text: str

    def samples(self) -> Iterator[Sample]:
        for family in text_string_to_metric_families(self.text):
            yield from family.samples

    def found(self, name: str, **labels: str) -> list[Sample]:
        """The series of this name that have these labels, and maybe more."""
        return [
            sample
            for sample in self.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def total(self, name: str, **labels: str) -> float:
        """Their sum."""
        return float(sum(sample.value for sample in self.found(name, **labels)))
