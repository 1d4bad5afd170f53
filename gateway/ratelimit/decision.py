"""What the limiter answers: whether the request may go on, and how much of each bound is left."""

from enum import StrEnum

from gateway.value import value


class Refusal(StrEnum):
    """Why a charge is not taken."""

    QUOTA = "quota"  # too fast, or too much today: later it works
    IN_FLIGHT = "in_flight"  # too many at once
    IMPOSSIBLE = "impossible"  # one request that costs more than its bound ever holds
    STORE_AWAY = "store_away"  # the limits cannot be looked up, and the tier does not pass without them


@value
class Bucket:
    """One bound after the decision.

    `limit` units a `window` (seconds; None: a bound on how many at once), of which `capacity` may come together;
    `remaining` units now, whole again in `reset` seconds.
    """

    name: str
    limit: int
    window: float | None
    capacity: int
    remaining: int
    reset: float


@value
class Lease:
    """A place in flight. `shared` says whether the store counts it, or this process alone; `scarce` whether less than
    half of the caller's places were left when it was taken."""

    key: str
    id: str
    shared: bool
    scarce: bool


@value
class Decision:
    """The answer to one charge of `cost` units; of a request that can never pass, `cost` is all that it would come to.

    A shadow tier is always `allowed`; its `refusal` says what would have stopped it. `refused_by` names the bucket
    that asks for the longest wait. `retry_after` is in seconds, None where waiting does not help or nothing is refused.
    `degraded`: decided without the store. Nothing was spent where there is a refusal.
    """

    allowed: bool
    refusal: Refusal | None
    refused_by: str | None
    retry_after: float | None
    buckets: tuple[Bucket, ...]
    cost: int
    degraded: bool
    lease: Lease | None = None
