"""A request as part of a trace: its ids, taken from the caller's W3C trace context or drawn, and what is sent of it."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_ZEROS = re.compile(rb"0+")
# The version ff is forbidden, and only a later version than 00 may say more than this one.
_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class Kept(StrEnum):
    """Why the spans of a request are sent."""

    SAMPLED = "sampled"
    ERROR = "error"
    SLOW = "slow"


@dataclass(slots=True)
class Trace:
    """`trace_id` in hex; `span_id` is the request's own span, `parent_id` the caller's, 0 where it named none.

    `sampled` is what was decided when the request came, and what Triton hears. `kept` is what came of it when the
    answer began.
    """

    trace_id: str
    span_id: int
    parent_id: int
    sampled: bool
    kept: Kept | None = None

    def traceparent(self, span_id: int) -> str:
        """The header for whoever is called under this span."""
        return f"00-{self.trace_id}-{span_id:016x}-{int(self.sampled or self.kept is not None):02x}"


@dataclass(frozen=True, slots=True)
class Remote:
    """What the caller's `traceparent` says."""

    trace_id: str
    span_id: int
    sampled: bool


def remote(headers: Sequence[bytes]) -> Remote | None:
    """Of a request's `traceparent` headers; None where there is not exactly one, well-formed (W3C Trace Context 1)."""
    if len(headers) != 1:
        return None
    found = _TRACEPARENT.fullmatch(headers[0])
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if (version == b"00" and rest) or _ZEROS.fullmatch(trace_id) or _ZEROS.fullmatch(span_id):
        return None
    return Remote(trace_id.decode(), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))


def new_span_id() -> int:
    """64 bits, never 0. The ids need to differ and not to be secret."""
    return random.getrandbits(64) or 1


def new_trace_id() -> str:
    return f"{random.getrandbits(128) or 1:032x}"
