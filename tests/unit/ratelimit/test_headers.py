"""Headers of a decision, and what a request costs."""

import pytest

from gateway.ratelimit import Bucket, Decision, Refusal, cost, headers

KEY = Bucket("key", 100, 60, 100, 50, 29.2)
TENANT = Bucket("tenant", 1000, 60, 1000, 900, 6.0)
PLACES = Bucket("in-flight", 8, None, 8, 0, 0.0)


def decision(
    *buckets: Bucket, allowed: bool = True, refusal: Refusal | None = None, **more: object
) -> Decision:
    fields: dict[str, object] = {
        "refused_by": None,
        "retry_after": None,
        "cost": 1,
        "degraded": False,
        **more,
    }
    return Decision(allowed=allowed, refusal=refusal, buckets=buckets, **fields)  # type: ignore[arg-type]


def test_every_bound_is_a_policy_and_the_one_nearest_to_its_end_is_told() -> None:
    assert headers(decision(KEY, TENANT)) == {
        "RateLimit-Policy": '"key";q=100;w=60, "tenant";q=1000;w=60',
        "RateLimit": '"key";r=50;t=30',
    }


def test_a_bound_on_how_many_at_once_is_a_policy_and_told_only_where_it_refuses() -> None:
    fields = headers(decision(KEY, PLACES))
    assert fields["RateLimit-Policy"] == '"key";q=100;w=60, "in-flight";q=8;qu="concurrent-requests"'
    assert fields["RateLimit"] == '"key";r=50;t=30'
    refused = decision(
        KEY, PLACES, allowed=False, refusal=Refusal.IN_FLIGHT, refused_by="in-flight", retry_after=1.0
    )
    assert headers(refused)["RateLimit"] == '"in-flight";r=0;t=1'


def test_a_refusal_tells_when_to_come_back_alike_in_both_headers() -> None:
    refused = decision(
        KEY, TENANT, allowed=False, refusal=Refusal.QUOTA, refused_by="tenant", retry_after=2.1, cost=950
    )
    assert headers(refused)["RateLimit"] == '"tenant";r=900;t=3'
    assert headers(refused)["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (
            decision(KEY, allowed=False, refusal=Refusal.IMPOSSIBLE, refused_by="key", cost=101),
            "waiting does not help",
        ),
        (decision(KEY, refusal=Refusal.QUOTA, refused_by="key", retry_after=2.0), "a shadow lets it pass"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_retry_after_where(refused: Decision, why: str) -> None:
    assert "Retry-After" not in headers(refused), why


def test_a_period_below_a_second_is_told_in_whole_seconds() -> None:
    fields = headers(decision(Bucket("key", 5, 0.5, 5, 5, 0.0)))
    assert fields["RateLimit-Policy"] == '"key";q=10;w=1'
    assert fields["RateLimit"] == '"key";r=5;t=0'


@pytest.mark.parametrize(
    ("units", "inputs", "megapixels", "tokens"),
    [
        (1, 1, 0.3, 0),
        (1, 0, 0.0, 0),
        (4, 4, 0.9, 999),
        (52, 4, 48.9, 0),
        (3, 1, 0.0, 2500),
        (6, 2, 2.0, 2000),
    ],
)
def test_a_request_costs_its_inputs_its_full_megapixels_and_its_full_thousands_of_tokens(
    units: int, inputs: int, megapixels: float, tokens: int
) -> None:
    assert cost(inputs, megapixels, tokens) == units
