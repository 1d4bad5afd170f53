"""Who changed models and keys, when and what: a bounded log in Redis, beside the one of the routes' own changes."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog
from redis.asyncio import Redis

from gateway.store.connection import text
from gateway.store.failures import StoreAway, translated
from gateway.store.streams import exclusive, moment

AUDIT = "gw:audit"
KEPT = 5_000

_PAGE = 250

_log = structlog.stdlib.get_logger("gateway.audit")


class Area(StrEnum):
    """What a change is about; one scope each."""

    CANARIES = "canaries"
    MODELS = "models"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Note:
    """One change: `at` is Redis's clock in seconds since the epoch, `actor` the id of who did it."""

    id: str
    at: float
    actor: str
    area: Area
    action: str
    subject: str


class Audit:
    """What was changed stays changed, also where it cannot be noted."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._under_way: set[asyncio.Task[None]] = set()

    async def note(self, actor: str, area: Area, action: str, subject: str) -> None:
        """A change that is done, in the process's own log, too. It is noted also where nobody waits any more."""
        _log.info("change", actor=actor, area=area.value, action=action, subject=subject)
        noting = asyncio.create_task(self._kept(actor, area, action, subject))
        self._under_way.add(noting)
        noting.add_done_callback(self._under_way.discard)
        await asyncio.shield(noting)

    async def settle(self) -> None:
        """Returns once all is noted that was to be."""
        await asyncio.gather(*self._under_way)

    async def _kept(self, actor: str, area: Area, action: str, subject: str) -> None:
        try:
            await self.keep(actor, area, action, subject)
        except StoreAway as error:
            _log.warning("change_not_noted", reason=str(error))

    async def keep(self, actor: str, area: Area, action: str, subject: str) -> None:
        """Raises StoreAway."""
        fields = {"actor": actor, "area": area.value, "action": action, "subject": subject}
        with translated():
            await self._redis.xadd(AUDIT, fields, maxlen=KEPT)  # type: ignore[arg-type]  # the keys' type is invariant

    async def notes(
        self, wanted: Callable[[Note], bool], *, limit: int, before: str | None = None
    ) -> list[Note]:
        """Those that are wanted, the newest first. Raises StoreAway; ValidationFailed where `before` is no id."""
        found: list[Note] = []
        end = exclusive("/before", before, "+")
        while len(found) < limit:
            page = await self._page(end)
            found += filter(wanted, page)
            if len(page) < _PAGE:
                break
            end = f"({page[-1].id}"
        return found[:limit]

    async def _page(self, end: str) -> list[Note]:
        with translated():
            rows: Any = await self._redis.xrevrange(AUDIT, end, "-", count=_PAGE)
            return [_note(text(row_id), fields) for row_id, fields in rows]


def _note(note_id: str, raw: Mapping[Any, Any]) -> Note:
    fields = {text(name): text(value) for name, value in raw.items()}
    try:
        return Note(
            id=note_id,
            at=moment(note_id),
            actor=fields["actor"],
            area=Area(fields["area"]),
            action=fields["action"],
            subject=fields["subject"],
        )
    except KeyError as error:
        raise StoreAway(f"{AUDIT} holds what is no change: {error} is missing") from None
