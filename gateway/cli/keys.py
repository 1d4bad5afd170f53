"""`gateway keys`: make, list, rotate and revoke API keys, straight in the store, so that the first one can be made."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from gateway.access_file import tiers_of
from gateway.api.admin_schemas import KeyInfo, key_fields, moment
from gateway.auth import (
    ApiKey,
    Grant,
    IssuedKey,
    KeyHasher,
    KeyIsRevoked,
    KeyStore,
    KeyStoreAway,
    UnknownKey,
    UnreadableKey,
)
from gateway.cli.check_config import load_settings
from gateway.cli.noted import note
from gateway.cli.output import as_json as json_option
from gateway.cli.output import done, print_json, print_table
from gateway.domain import Priority, Quota
from gateway.errors import ValidationFailed
from gateway.store import Audit, connect

_MAX_DAYS = 365_000  # no key may live as long, and seconds of it are still a number
_COLUMNS = ("id", "state", "tenant", "tier", "scopes", "models", "made (UTC)", "expires (UTC)")

_T = TypeVar("_T")
_Changed = TypeVar("_Changed", IssuedKey, ApiKey)


@click.group()
def keys() -> None:
    """API keys. A secret is shown once, when it is made."""


@keys.command()
@click.option("--tenant", required=True, help="Who owns the key.")
@click.option(
    "--scope", "scopes", multiple=True, default=("infer",), show_default=True, help="May be repeated."
)
@click.option("--model", "models", multiple=True, help="Only these models; every model without it.")
@click.option("--tier", default="standard", show_default=True)
@click.option(
    "--priority-ceiling", type=click.Choice([p.name.lower() for p in Priority]), help="The tier's without it."
)
@click.option("--rate", help="LIMIT/PERIOD[:BURST], for instance 50/1:100, in place of the tier's.")
@click.option("--days", type=click.IntRange(1, _MAX_DAYS), help="How long it lives; for ever without it.")
@click.option("--quiet", is_flag=True, help="Print the key and nothing else.")
def create(
    tenant: str,
    scopes: tuple[str, ...],
    models: tuple[str, ...],
    tier: str,
    priority_ceiling: str | None,
    rate: str | None,
    days: int | None,
    quiet: bool,
) -> None:
    """Make a key and print it."""
    tiers = tiers_of(load_settings().access_file)
    if tier not in tiers:
        raise click.BadParameter(f"one of {', '.join(sorted(tiers))}", param_hint="--tier")
    grant = Grant(
        tenant=tenant,
        scopes=frozenset(scopes),
        tier=tier,
        priority_ceiling=Priority[priority_ceiling.upper()] if priority_ceiling else tiers[tier].priority,
        models=frozenset(models) or None,
        quota=None if rate is None else _quota(rate),
        expires_at=None if days is None else time.time() + days * 86_400,
    )
    _tell(_changed("create", lambda store: store.create(grant)), quiet=quiet)


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Show every key, without its secret."""
    found = _with_store(lambda store, _: store.listing())
    if as_json:
        shown = [{"state": _state(record), **_fields(record)} for record in found.records]
        print_json({"keys": shown, "unreadable": found.unreadable})
    else:
        unreadable = [[key_id, "unreadable"] for key_id in found.unreadable]
        print_table(_COLUMNS, [*map(_row, found.records), *unreadable])


@keys.command()
@click.argument("key_id")
@click.option(
    "--overlap",
    default=86_400.0,
    show_default=True,
    help="Seconds that the old key, and what it made, still holds.",
)
@click.option("--quiet", is_flag=True, help="Print the key and nothing else.")
def rotate(key_id: str, overlap: float, quiet: bool) -> None:
    """Give a key a new secret."""
    _tell(_changed("rotate", lambda store: store.rotate(key_id, overlap=overlap)), quiet=quiet)


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End a key, on every gateway within two seconds."""
    _changed("revoke", lambda store: store.revoke(key_id))
    with done(f"{key_id} is revoked all the same"):
        click.echo(f"{key_id} is revoked")


def _changed(action: str, change: Callable[[KeyStore], Awaitable[_Changed]]) -> _Changed:
    """What the change made, noted as a change of the command line's."""

    async def work(store: KeyStore, audit: Audit) -> _Changed:
        made = await change(store)
        record = made.record if isinstance(made, IssuedKey) else made
        await note(audit, action, record.id)
        return made

    return _with_store(work)


def _with_store(work: Callable[[KeyStore, Audit], Awaitable[_T]]) -> _T:
    """Runs `work` on the store of the settings. Raises click.ClickException with what a person can act on."""
    settings = load_settings()

    async def run() -> _T:
        hasher = KeyHasher(settings.key_pepper.get_secret_value().encode())
        async with connect(settings.redis_url, timeout=2.0) as redis:
            store = KeyStore(redis, hasher=hasher, environment=settings.environment, clock=time.time)
            return await work(store, Audit(redis))

    try:
        return asyncio.run(run())
    except KeyStoreAway as error:
        raise click.ClickException(f"the store at GATEWAY_REDIS_URL {error.state}: {error}") from None
    except UnknownKey as error:
        raise click.ClickException(f"there is no key {error}") from None
    except UnreadableKey as error:
        raise click.ClickException(
            f"it can only be revoked: Redis holds what is no key for {error}"
        ) from None
    except KeyIsRevoked as error:
        raise click.ClickException(f"{error} is revoked; make a new key") from None
    except ValidationFailed as error:
        raise click.ClickException("; ".join(f"{e.pointer}: {e.detail}" for e in error.errors)) from None


def _tell(issued: IssuedKey, *, quiet: bool) -> None:
    name = issued.record.id
    with done(f"key {name} has a new secret all the same, which is lost: rotate {name}, or revoke it"):
        if quiet:
            click.echo(issued.secret)
            return
        click.echo(f"id   {name}")
        click.echo(f"key  {issued.secret}")
        click.echo("It is shown this once. Send it as Authorization: Bearer, or as X-API-Key.")


def _fields(record: ApiKey) -> dict[str, Any]:
    """As `GET /admin/v1/keys` shows them."""
    return KeyInfo.model_validate(key_fields(record)).model_dump(mode="json")


def _row(record: ApiKey) -> Sequence[str]:
    grant = record.grant
    models = "all" if grant.models is None else " ".join(sorted(grant.models))
    times = [_day(record.created_at), "never" if grant.expires_at is None else _day(grant.expires_at)]
    return [
        record.id,
        _state(record),
        grant.tenant,
        grant.tier,
        " ".join(sorted(grant.scopes)),
        models,
        *times,
    ]


def _day(seconds: float) -> str:
    found = moment(seconds)
    return "" if found is None else f"{found:%Y-%m-%d %H:%M}"


def _state(record: ApiKey) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "active" if record.is_active(datetime.now(UTC).timestamp()) else "expired"


def _quota(text: str) -> Quota:
    try:
        limit, _, rest = text.partition("/")
        period, _, burst = rest.partition(":")
        return Quota(int(limit), float(period), int(burst or limit))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not LIMIT/PERIOD[:BURST]", param_hint="--rate") from None
