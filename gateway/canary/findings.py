"""What mirrored calls showed, from every worker: each writes its own sums to Redis, and whoever asks adds them up."""

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog
from redis.asyncio import Redis

from gateway.canary.report import BrokenReport, Journal, Report, Versions, from_document, to_document
from gateway.canary.route import Route
from gateway.canary.table import Live
from gateway.domain import Variant
from gateway.store import repeat, text, translated

_PREFIX = "gw:report:"
_KEPT = 7 * 86_400  # seconds
_INTERVAL = 1.0

_log = structlog.stdlib.get_logger("gateway.canary")


class Recorder(Protocol):
    def record_comparison(self, model: str, version: str, variant: str = "", *, agreed: bool) -> None: ...


class ReportStore:
    """One hash a rollout, one field a worker. Each method raises StoreAway."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def write(self, rollout: str, worker: str, report: Report) -> None:
        key = _key(report.versions.model, rollout)
        with translated():
            await self._redis.hset(key, worker, to_document(report))
            await self._redis.pexpire(key, _KEPT * 1000)

    async def read(self, rollout: str, versions: Versions) -> Report:
        """The sum over all workers; what is no report of these versions is left out."""
        with translated():
            found = await self._redis.hgetall(_key(versions.model, rollout))
        total = Report(versions)
        for document in found.values():
            try:
                report = from_document(text(document))
            except BrokenReport:
                continue
            if report.versions == versions:
                total += report
        return total


class Findings:
    """This worker's journal of the rollouts that are under way: what is added counts as evidence at once, and `run`
    brings the sums to the store every second."""

    def __init__(
        self, store: ReportStore, recorder: Recorder, routes: Callable[[], Mapping[str, Live[Route]]]
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._routes = routes
        self._worker = secrets.token_hex(6)
        self._journal = Journal()
        self._sums: dict[str, tuple[str, Report]] = {}  # by model: the rollout, and what came of it so far
        self._changed: set[str] = set()

    def add(self, report: Report) -> None:
        """One comparison, or one call that came to nothing."""
        self._journal.add(report)
        if report.compared:
            versions = report.versions
            self._recorder.record_comparison(
                versions.model, versions.canary, Variant.SHADOW, agreed=bool(report.agreed)
            )

    def keeps(self, versions: Versions, rank: float) -> bool:
        return self._journal.keeps(versions, rank)

    async def run(self) -> None:
        """Delivers for ever; run as a task and cancel it to stop."""
        await repeat(
            self.deliver,
            interval=_INTERVAL,
            failed=lambda reason: _log.warning("reports_held", reason=reason),
        )

    async def deliver(self) -> None:
        """Adds what is new to the sums of its rollout and writes those that changed. Raises StoreAway."""
        routes = self._routes()
        for report in self._journal.take():
            live = routes.get(report.versions.model)
            if live is not None and live.route.under_way:
                self._absorb(live.route.salt, report)
        for model in sorted(self._changed):
            rollout, total = self._sums[model]
            await self._store.write(rollout, self._worker, total)
            self._changed.discard(model)

    def _absorb(self, rollout: str, report: Report) -> None:
        model = report.versions.model
        known, before = self._sums.get(model, ("", report))
        continues = known == rollout and before.versions == report.versions
        self._sums[model] = rollout, before + report if continues else report
        self._changed.add(model)


def _key(model: str, rollout: str) -> str:
    return f"{_PREFIX}{model}:{rollout}"
