"""Routes and reports as the API answers them, for tests of what is said about them."""

from typing import Any

Json = dict[str, Any]

GUARD = {
    "min_requests": 100,
    "max_error_gap": 0.02,
    "error_z": 3.0,
    "latency_factor": 1.5,
    "latency_windows": 3,
    "window": 2,
    "min_agreement": None,
    "min_compared": 50,
}
STEPS = [
    {"weight": 100, "seconds": 60.0, "min_requests": 100},
    {"weight": 10_000, "seconds": 60.0, "min_requests": 100},
]


def route(**fields: Any) -> Json:
    return {
        "model": "pets",
        "generation": 7,
        "stable": "1",
        "canary": "2",
        "weight": 500,
        "sticky": "principal",
        "mirror": 0,
        "guard": GUARD,
        "steps": [],
        "lease": None,
        "always": [],
        "lives": {},
        "frozen": False,
        "under_way": True,
        "phase": "steady",
        "step": -1,
        "step_started_at": None,
        "reason": "Set by hand to 5 %.",
        "since": "2027-01-01T00:00:00+00:00",
        "unreadable": None,
        **fields,
    }


def side(version: str, requests: int, errors: int = 0) -> Json:
    return {
        "version": version,
        "requests": requests,
        "errors": errors,
        "error_rate": errors / max(1, requests),
        "p50_ms": 4.04 if requests else None,
        "p95_ms": 9.5 if requests else None,
    }


def report(**fields: Any) -> Json:
    return {
        "model": "pets",
        "generation": 7,
        "seconds": 60,
        "stable": side("1", 1900, 2),
        "canary": side("2", 100, 3),
        "agreement": {"compared": 52, "agreed": 50, "rate": 50 / 52},
        "decision": {"verdict": "healthy", "cause": None, "detail": "3 % errors against 0.1 %."},
        **fields,
    }
