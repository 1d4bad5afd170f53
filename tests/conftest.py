"""Fixtures only; what they start lives in `support`."""

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, settings
from processes import RunningStack, running, running_stack, wait_listening
from stack import Addresses, create_key, free_addresses
from stack import redis as redis_part
from support.guarded import Guarded
from support.guarded import guarded as guarded_gateway

# How long examples take says something of the machine, and nothing of the gateway.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """A real Triton with the demo models, a real Redis and the gateway; started once for all tests that share it."""
    with running_stack() as parts:
        yield parts


@pytest.fixture(scope="session")
def client(stack: RunningStack) -> Iterator[httpx.Client]:
    """HTTP to the gateway of the shared stack, with a key whose quota no test exhausts."""
    with stack.client() as http:
        yield http


@pytest.fixture(scope="module")
def redis() -> Iterator[Addresses]:
    """A real Redis alone, for gateways whose Triton is the fake; no route or count of another module is in it."""
    at = free_addresses()
    with running(redis_part(at)):
        wait_listening(at.redis_address, at.redis_port)
        yield at


@pytest.fixture(scope="module")
def caller_key(redis: Addresses) -> str:
    """A key that may infer and pin versions."""
    return create_key(redis, "tests", "infer", "pin-version")


@pytest.fixture(scope="module")
def guarded(redis: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A gateway with trusted token issuers, for tests of who may call."""
    with guarded_gateway(redis, tmp_path_factory.mktemp("guarded")) as running_gateway:
        yield running_gateway
