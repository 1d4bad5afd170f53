"""What is known of a rollout: the counts of the last minute, and what the last evaluator left."""

from dataclasses import dataclass

from gateway.canary.controller import Ledgers, Reader
from gateway.canary.counts import Reading
from gateway.canary.findings import ReportStore
from gateway.canary.ledger import Ledger
from gateway.canary.report import Report, Versions
from gateway.canary.route import Route
from gateway.canary.table import Live

SECONDS = 60


@dataclass(frozen=True, slots=True)
class Known:
    """`reading` covers the last minute; `ledger` holds the sums of this rollout, None before its first judgement;
    `comparison` is what mirrored calls showed, also of a rollout that has ended while its canary is still named.
    """

    live: Live[Route]
    reading: Reading
    ledger: Ledger | None
    comparison: Report | None


class Reports:
    """`of` raises StoreAway."""

    def __init__(self, reader: Reader, ledgers: Ledgers, comparisons: ReportStore) -> None:
        self._reader = reader
        self._ledgers = ledgers
        self._comparisons = comparisons

    async def of(self, live: Live[Route]) -> Known:
        """What is known of the route as it stands."""
        route = live.route
        reading = await self._reader.read(route.model, SECONDS)
        ledger = await self._ledgers.load(route.model)
        current = ledger if ledger is not None and route.under_way and ledger.rollout == route.salt else None
        rollout = route.salt or (
            ledger.rollout if ledger else ""
        )  # the last one stays readable after its end
        if route.canary is None or not rollout:
            return Known(live, reading, current, None)
        versions = Versions(route.model, route.stable, route.canary)
        return Known(live, reading, current, await self._comparisons.read(rollout, versions))
