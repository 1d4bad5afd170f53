"""Fixtures only; what they start lives in `support`."""

from collections.abc import Iterator

import httpx
import pytest
from processes import RunningStack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """A real Triton with the demo models, a real Redis and the gateway; started once for all tests that share it."""
    with running_stack() as parts:
        yield parts


@pytest.fixture(scope="session")
def client(stack: RunningStack) -> Iterator[httpx.Client]:
    """HTTP to the gateway of the shared stack."""
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as http:
        yield http
