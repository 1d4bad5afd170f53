"""Weights, shares and durations as people write them, on the command line and in a routes file, and back."""

import re
from decimal import Decimal

from gateway.canary.split import FULL

_NUMBER = re.compile(r"[+-]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12})", re.ASCII)
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d{1,12}d)?(?:\d{1,12}h)?(?:\d{1,12}m)?(?:\d{1,12}(?:\.\d{1,3})?s)?", re.ASCII)
_PART = re.compile(r"([\d.]+)([dhms])", re.ASCII)


def basis_points(text: str) -> int:
    """Of "5%", "2.5 %" or "500", which are basis points. Raises ValueError."""
    number, is_percent = _number(text)
    points = number * 100 if is_percent else number
    if points != int(points) or not 0 <= points <= FULL:
        raise ValueError(f"{text!r}: from 0% to 100% in steps of 0.01%, or from 0 to {FULL} basis points")
    return int(points)


def share(text: str) -> float:
    """Of "90%" or "0.9". Raises ValueError."""
    number, is_percent = _number(text)
    part = number / 100 if is_percent else number
    if not 0 <= part <= 1:
        raise ValueError(f"{text!r}: from 0% to 100%, or from 0 to 1")
    return float(part)


def seconds(text: str) -> float:
    """Of "90s", "2h", "1h30m", "1d" or "90". Raises ValueError."""
    compact = text.replace(" ", "")
    if re.fullmatch(r"\d{1,12}(\.\d{1,3})?", compact, re.ASCII):
        return float(compact)
    if not compact or not _DURATION.fullmatch(compact):
        raise ValueError(f"{text!r}: a duration such as 90s, 2h, 1h30m or 1d")
    return float(sum(Decimal(number) * _UNITS[unit] for number, unit in _PART.findall(compact)))


def duration(length: float) -> str:
    """Seconds as "1h30m", which `seconds` reads; to the millisecond."""
    left = round(length * 1000)
    parts = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size * 1000)
        if unit == "s" and left:
            parts.append(f"{count + left / 1000:g}s")
        elif count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _number(text: str) -> tuple[Decimal, bool]:
    """The number, and whether it is in percent."""
    bare = text.strip()
    digits = bare.removesuffix("%").rstrip()
    if not _NUMBER.fullmatch(digits):
        raise ValueError(f"{text!r} is neither a number nor a percentage")
    return Decimal(digits), bare.endswith("%")
