"""Does Redis take and keep what it is given, and from whom? Asks with the user that it is handed, and as a stranger."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from gateway.doctor.finding import Finding, error, warning
from gateway.store import FAILURES, text

_STRANGERS_KEY = "gw:{doctor}"  # of the gateway's own names, so that reading it says something
_NEARLY = 0.9  # of maxmemory
_MENDED = ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2))  # CVE-2025-49844, by line of releases
_MENDED_LINES = {version[:2]: version for version in _MENDED}

_NOT_ASKED = (
    "Redis: whether it keeps its data, and what it throws out when it is full. The gateway's user may not ask, which "
    "is right; give the address of one who may: --redis-url redis://admin:…@host:6379/0"
)


@dataclass(frozen=True, slots=True)
class RedisReport:
    findings: list[Finding]
    unchecked: list[str]


async def redis_report(ours: Redis, stranger: Redis) -> RedisReport:
    """`stranger` is a client without credentials of the same server."""
    try:
        await ours.get(_STRANGERS_KEY)
    except FAILURES as failure:
        return RedisReport(
            [
                error(
                    "redis",
                    "redis-away",
                    f"it cannot be used: {type(failure).__name__}: {failure}",
                    "Start it; is GATEWAY_REDIS_URL right, and its user (docs/access.md)?",
                )
            ],
            [],
        )
    findings = [finding async for finding in _of_strangers(stranger)]
    try:
        info: dict[str, Any] = {}
        for section in ("server", "replication", "memory", "persistence"):
            info |= await ours.info(section)
        saves, stops = [await _setting(ours, name) for name in ("save", "stop-writes-on-bgsave-error")]
    except FAILURES:
        return RedisReport(findings, [_NOT_ASKED])
    takes = _of_taking(info, saves, stops=stops == "yes")
    return RedisReport([*findings, *takes, *_of_keeping(info, saves), *_of_release(info)], [])


async def _setting(redis: Redis, name: str) -> str:
    return text((await redis.config_get(name)).get(name, ""))


async def _of_strangers(stranger: Redis) -> Any:
    try:
        await stranger.get(_STRANGERS_KEY)
    except FAILURES:
        return
    yield error(
        "redis",
        "redis-open",
        "it lets in whoever reaches it, without a password: keys can be read, made and taken away.",
        "Give the gateway a user of its own and switch the default one off (docs/access.md has the line).",
    )


def _of_taking(info: Mapping[str, Any], saves: str, *, stops: bool) -> Iterator[Finding]:
    """Whether it can be read only, for a reason other than being full. `stops`: it refuses to write in memory what it
    could not save.
    """
    refused = "no key, rollback or revocation is taken; nobody judges."
    if text(info.get("role", "")) == "slave":
        yield error(
            "redis",
            "redis-read-only",
            f"it is a replica of {text(info.get('master_host', ''))}:{info.get('master_port', '')}: {refused}",
            "Let GATEWAY_REDIS_URL name the master (redis+sentinel:// follows it), or make this one: REPLICAOF NO ONE.",
        )
    unwritten = {
        "snapshot": stops and saves and text(info.get("rdb_last_bgsave_status", "")) == "err",
        "append-only file": text(info.get("aof_last_write_status", "")) == "err",
    }
    if failed := [what for what, is_so in unwritten.items() if is_so]:
        yield error(
            "redis",
            "redis-cannot-save",
            f"it could not write its {' and its '.join(failed)}: {refused}",
            "Its log says why. Give its disk room, or its user the right to write there.",
        )


def _of_keeping(info: Mapping[str, Any], saves: str) -> Iterator[Finding]:
    """What survives a restart, and what a full memory costs."""
    if not int(info.get("aof_enabled", 0)):
        keeps = f"it saves a snapshot now and then ({saves})" if saves else "it writes nothing to a disk"
        made = warning if saves else error
        yield made(
            "redis",
            "redis-forgets",
            f"{keeps}: a crash takes the keys and routes that were made since.",
            "Set appendonly yes, and keep its folder on a disk that stays.",
        )
    policy = text(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys"):
        yield error(
            "redis",
            "redis-evicts",
            f"maxmemory-policy is {policy}: when it is full it throws out API keys and routes.",
            "Set maxmemory-policy noeviction.",
        )
    if not int(info.get("maxmemory", 0)):
        yield warning(
            "redis",
            "redis-unbounded",
            "maxmemory is not set: it grows until the machine kills it.",
            "Set maxmemory well below what the machine or the container has, for instance 512mb.",
        )
    elif policy == "noeviction":
        yield from _of_room(int(info.get("used_memory", 0)) / int(info["maxmemory"]))


def _of_room(used: float) -> Iterator[Finding]:
    """What is full takes no changes, and no counts of canaries; nobody notices until one has to be taken back."""
    if used >= _NEARLY:
        made = error if used >= 1 else warning
        yield made(
            "redis",
            "redis-full",
            f"{used:.0%} of maxmemory is in use: a full one takes no rollback and no revocation; nobody judges.",
            "Give it more room at once (CONFIG SET maxmemory), and look at what fills it.",
        )


def _of_release(info: Mapping[str, Any]) -> Iterator[Finding]:
    release = tuple(map(int, re.findall(r"\d+", text(info.get("redis_version", "")))[:3]))
    mended = _MENDED_LINES.get((release[0], release[1])) if len(release) > 1 else None
    old = release < mended if mended else release < _MENDED[-1] and release[:2] not in _MENDED_LINES
    if old:
        yield warning(
            "redis",
            "redis-old",
            f"Redis {'.'.join(map(str, release))} may have CVE-2025-49844: whoever may run scripts can run code in it.",
            "Take 8.2.2, 7.4.6, 7.2.11 or later, unless your distribution has mended it under the old number.",
        )
