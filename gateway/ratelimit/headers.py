"""`RateLimit-Policy`, `RateLimit` and `Retry-After` (draft-ietf-httpapi-ratelimit-headers, RFC 9110) of a decision."""

import functools
import math

from gateway.ratelimit.decision import Bucket, Decision


def headers(decision: Decision) -> dict[str, str]:
    """All that apply, by name; `Retry-After` only where waiting helps a request that is not let through."""
    fields = {"RateLimit-Policy": policy(decision), "RateLimit": remaining(decision)}
    if not decision.allowed and decision.retry_after is not None:
        fields["Retry-After"] = str(_seconds(decision.retry_after))
    return fields


def policy(decision: Decision) -> str:
    """Every bound: `"key";q=100;w=60, "in-flight";q=8;qu="concurrent-requests"`."""
    return ", ".join([_policy(bucket.name, bucket.limit, bucket.window) for bucket in decision.buckets])


def remaining(decision: Decision) -> str:
    """The bound of which the smallest share is left, or the one that refuses: `"key";r=50;t=30`.

    `t` is when the bound is whole again; of a refusal, when to come back, so that it agrees with `Retry-After`.
    """
    if not decision.allowed and decision.refused_by is not None:
        bucket = next(found for found in decision.buckets if found.name == decision.refused_by)
        reset = bucket.reset if decision.retry_after is None else decision.retry_after
        return _item(bucket.name, bucket.remaining, _seconds(reset))
    bucket = min((found for found in decision.buckets if found.window is not None), key=_scarcity)
    return _item(bucket.name, bucket.remaining, math.ceil(bucket.reset))


@functools.lru_cache(maxsize=256)
def _policy(name: str, limit: int, seconds: float | None) -> str:
    if seconds is None:
        return f'"{name}";q={limit};qu="concurrent-requests"'
    window = math.ceil(seconds)  # whole seconds, as the draft wants them; the limit is scaled along
    return f'"{name}";q={round(limit * window / seconds)};w={window}'


def _item(name: str, left: int, seconds: int) -> str:
    return f'"{name}";r={left};t={seconds}'


def _scarcity(bucket: Bucket) -> tuple[float, int]:
    """Of bounds that are used up alike, the smaller one comes first."""
    return bucket.remaining / bucket.capacity, bucket.remaining


def _seconds(delay: float) -> int:
    return max(1, math.ceil(delay))
