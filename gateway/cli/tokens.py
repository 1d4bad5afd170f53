"""`gateway tokens`: end a token before its time, straight in the store, whatever the gateways are doing."""

import asyncio
import math
import time
from typing import Any

import click

from gateway.auth import DeniedTokens
from gateway.auth.denylist import MAX_SECONDS, OUTLIVES_ALL
from gateway.cli.check_config import load_settings
from gateway.cli.noted import note
from gateway.cli.output import done
from gateway.errors import ValidationFailed
from gateway.store import Audit, StoreAway, connect


class _Seconds(click.FloatRange):
    """Which alone lets NaN pass: that is below no bound, and above none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value} is not a number", param, ctx)
        return found


@click.group()
def tokens() -> None:
    """Tokens: those made for pages, those of trusted issuers, and the console's sessions."""


@tokens.command()
@click.argument("token_id")
@click.option(
    "--seconds",
    type=_Seconds(1, MAX_SECONDS),
    default=OUTLIVES_ALL,
    show_default=True,
    help="How long; the default outlives every token and session that exists now.",
)
def revoke(token_id: str, seconds: float) -> None:
    """End the token with this jti, or every token and session of the caller with this id, on every gateway within two
    seconds.
    """
    settings = load_settings()

    async def run() -> None:
        async with connect(settings.redis_url, timeout=2.0) as redis:
            await DeniedTokens(redis).end(token_id, time.time() + seconds)
            await note(Audit(redis), "end", token_id)

    try:
        asyncio.run(run())
    except StoreAway as error:
        raise click.ClickException(f"the store at GATEWAY_REDIS_URL {error.state}: {error}") from None
    except ValidationFailed as error:
        raise click.ClickException("; ".join(field.detail for field in error.errors)) from None
    with done(f"{token_id} is ended all the same"):
        click.echo(f"{token_id} is ended")
