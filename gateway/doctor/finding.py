"""What the doctor finds: one sentence for what is wrong, one for the mend."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error breaks something today, or lets somebody in; a warning will surprise somebody some day."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is the stable name of the kind; `subject` is whose it is, such as "model pets" or "redis"."""

    severity: Severity
    subject: str
    code: str
    problem: str
    mend: str


@dataclass(frozen=True, slots=True)
class Report:
    """`unchecked` are sentences on what could not be looked at, and how it could."""

    findings: Sequence[Finding]
    unchecked: Sequence[str] = ()

    @property
    def errors(self) -> int:
        return sum(finding.severity is Severity.ERROR for finding in self.findings)


def error(subject: str, code: str, problem: str, mend: str) -> Finding:
    return Finding(Severity.ERROR, subject, code, problem, mend)


def warning(subject: str, code: str, problem: str, mend: str) -> Finding:
    return Finding(Severity.WARNING, subject, code, problem, mend)
