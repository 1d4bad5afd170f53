"""What a worker noted since it last told the others: it says so before it ends."""

import contextlib
from collections.abc import AsyncIterator

from stack import Addresses, store_environment
from support.redis_server import until

from gateway.assembly.part import Part, opened
from gateway.assembly.rollouts import Routing, routing
from gateway.canary.counts import Series
from gateway.canary.report import Report, Versions
from gateway.canary.route import Route, to_document
from gateway.canary.store import Cause
from gateway.domain import ModelVersion, Principal, Priority, Variant
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics

ROUTE = Route("pets", "1", "2", weight=100, salt="s")
VERSIONS = Versions("pets", "1", "2")
STABLE = ModelVersion("pets", "1", Variant.STABLE)
CALLER = Principal("key", "tenant", frozenset(), None, "free", Priority.BATCH)


@contextlib.asynccontextmanager
async def mirrored(routes: Routing) -> AsyncIterator[None]:
    """Calls that are still compared when the worker's tasks have ended."""
    yield
    routes.findings.add(Report(VERSIONS, compared=1, agreed=0))
    routes.outcomes.record(STABLE, None, 0.1)
    routes.callers.note(STABLE, CALLER)


async def test_comparisons_counts_and_callers_of_the_last_moment_are_told(redis: Addresses) -> None:
    store = {name.removeprefix("GATEWAY_").lower(): value for name, value in store_environment(redis).items()}
    settings = Settings.model_validate(store)
    ending, reading = routing(settings, Metrics()), routing(settings, Metrics())
    async with opened([reading.part]):
        await reading.store.put("pets", to_document(ROUTE), 0, Cause("tests", "put", "a test"))
        async with opened([ending.part, Part(resources=[mirrored(ending)])]):
            await until(lambda: ending.table.route("pets") is not None)
        assert (await reading.reports.read(ROUTE.salt, VERSIONS)).compared == 1
        assert [caller.tenant for caller in await reading.callers.of("pets", "1")] == [CALLER.tenant]
        buckets = (await reading.reader.read("pets", 60)).buckets
        counted = {series for bucket in buckets for series in bucket.tallies}
        assert counted == {Series("1", Variant.STABLE), Series("2", Variant.SHADOW)}
