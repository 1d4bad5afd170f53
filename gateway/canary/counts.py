"""What happened to each model version, summed over all workers in buckets of a second: the evidence for a canary.

Recording is arithmetic in memory. A task sends the sums twice a second; while Redis is away they add up here, for some
seconds, and then are dropped with a line in the log: old evidence must not look like new.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import structlog
from redis.asyncio import Redis

from gateway.canary.histogram import BOUNDS, bucket
from gateway.store import StoreAway, heed_cancellation, script, text, translated

KEPT = 120  # seconds of buckets

_PREFIX = f"gw:{{counts}}:{crc32(repr(BOUNDS).encode()):x}:"  # gateways with other bounds count apart
_INTERVAL = 0.5
_HOLD = 10.0
_LATENCY = 4  # where the histogram begins, behind requests, errors, compared and agreed
_CELLS = _LATENCY + len(BOUNDS) + 1

_log = structlog.stdlib.get_logger("gateway.canary")


@dataclass(frozen=True, slots=True)
class Series:
    """Whose counts they are; `variant` is why the version answered, or '' where that was not said."""

    version: str
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """`latency` counts the requests that went well, one number a bucket of BOUNDS and one for those above."""

    requests: int = 0
    errors: int = 0
    compared: int = 0
    agreed: int = 0
    latency: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One second on Redis's clock; without those that counted nothing."""

    second: int
    tallies: Mapping[Series, Tally]


class Recorder:
    """One a worker. `clock` is monotonic. What it holds is bounded by the versions there are, not by the requests."""

    def __init__(
        self, redis: Redis, *, clock: Callable[[], float], interval: float = _INTERVAL, hold: float = _HOLD
    ) -> None:
        self._clock = clock
        self._interval = interval
        self._hold = hold
        self._send = script(redis, "gateway.canary", "count")
        self._name = f"{_PREFIX}from:{secrets.token_hex(8)}"
        self._cells: dict[tuple[str, str, str], list[int]] = {}
        self._began = 0.0  # when the first of them was made
        self._batch: _Batch | None = None
        self._number = 0
        self._failing = False
        self._turn = asyncio.Lock()

    def record(self, model: str, version: str, variant: str = "", *, ok: bool, seconds: float) -> None:
        """One request; its latency counts where it went well."""
        cells = self._of(model, version, variant)
        cells[0] += 1
        if ok:
            cells[_LATENCY + bucket(seconds)] += 1
        else:
            cells[1] += 1

    def record_comparison(self, model: str, version: str, variant: str = "", *, agreed: bool) -> None:
        """One answer of this version that was held against the stable one's."""
        cells = self._of(model, version, variant)
        cells[2] += 1
        cells[3] += agreed

    async def run(self) -> None:
        """Sends for ever; run as a task and cancel it to stop: what is left goes out first."""
        try:
            while True:
                await asyncio.sleep(self._interval)
                await self._try_to_flush()
                heed_cancellation()
        finally:
            await self._try_to_flush()

    async def flush(self) -> bool:
        """Sends what was recorded; False where that was nothing.

        Raises StoreAway; the next call then sends the same again, and it counts once, or drops it where it is too old.
        """
        async with self._turn:
            sent = await self._deliver()
            if self._cells:
                self._number += 1
                self._batch = _Batch(self._number, self._began, self._cells)
                self._cells = {}
                sent = await self._deliver()
            return sent

    async def _deliver(self) -> bool:
        batch = self._batch
        if batch is None:
            return False
        if self._clock() - batch.began > self._hold:
            _log.warning("counts_dropped", requests=batch.requests())
            self._batch = None
            return False
        with translated():
            await self._send(keys=[self._name], args=[_PREFIX, batch.number, KEPT * 1000, *batch.words()])
        self._batch = None
        return True

    async def _try_to_flush(self) -> None:
        try:
            sent = await self.flush()
        except StoreAway as error:
            self._note_failure(str(error))
            return
        if sent and self._failing:  # that nothing had to be sent says nothing of the store
            _log.info("counts_sent_again")
            self._failing = False

    def _note_failure(self, reason: str) -> None:
        if not self._failing:
            _log.warning("counts_held", reason=reason, seconds=self._hold)
        self._failing = True

    def _of(self, model: str, version: str, variant: str) -> list[int]:
        key = (model, version, variant)
        cells = self._cells.get(key)
        if cells is None:
            if not self._cells:
                self._began = self._clock()
            cells = self._cells[key] = [0] * _CELLS
        return cells


@dataclass(frozen=True, slots=True)
class _Batch:
    """What goes out together under one number; `began` is when the first of it was counted, monotonic."""

    number: int
    began: float
    cells: Mapping[tuple[str, str, str], Sequence[int]] = field(repr=False)

    def requests(self) -> int:
        return sum(cells[0] for cells in self.cells.values())

    def words(self) -> Iterator[str | int]:
        """Model, field, count and so on. A field is version|variant|which count."""
        for (model, version, variant), cells in self.cells.items():
            for place, count in enumerate(cells):
                if count:
                    yield from (model, f"{version}|{variant}|{place}", count)


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest seconds, oldest first; `now` is the one that is still running, on Redis's clock."""

    now: int
    buckets: Sequence[Bucket]


class CountsReader:
    """Reads what all recorders sent. Its method raises StoreAway."""

    def __init__(self, redis: Redis) -> None:
        self._sum = script(redis, "gateway.canary", "sum")

    async def read(self, model: str, seconds: int) -> Reading:
        """At most KEPT seconds."""
        with translated():
            answer = await self._sum(keys=[f"{_PREFIX}{model}:"], args=[min(seconds, KEPT)])
            now, *flat = json.loads(text(answer))
            pairs = zip(flat[::2], flat[1::2], strict=True)
            return Reading(now, [Bucket(second, _tallies(fields)) for second, fields in pairs])


def _tallies(flat: Sequence[str]) -> dict[Series, Tally]:
    found: dict[Series, list[int]] = {}
    for name, count in zip(flat[::2], flat[1::2], strict=True):
        version, variant, place = name.split("|")
        cells = found.setdefault(Series(version, variant), [0] * _CELLS)
        cells[int(place)] = int(count)
    return {series: _tally(cells) for series, cells in found.items()}


def _tally(cells: Sequence[int]) -> Tally:
    requests, errors, compared, agreed, *latency = cells
    return Tally(requests, errors, compared, agreed, tuple(latency))
