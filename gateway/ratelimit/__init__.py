"""How much a caller may use: exact over all workers by one script in Redis, a local share while Redis is away."""

from gateway.ratelimit.breaker import State
from gateway.ratelimit.cost import cost
from gateway.ratelimit.decision import Bucket, Decision, Lease, Refusal
from gateway.ratelimit.headers import headers
from gateway.ratelimit.limiter import RateLimiter
from gateway.ratelimit.store import CLIENT_TIMEOUT, RedisStore

__all__ = [
    "CLIENT_TIMEOUT",
    "Bucket",
    "Decision",
    "Lease",
    "RateLimiter",
    "RedisStore",
    "Refusal",
    "State",
    "cost",
    "headers",
]
