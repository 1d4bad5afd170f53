"""`gateway doctor`: what would silently not work, in plain words and with the mend; its exit code is for machines."""

import asyncio
import re
import time
from collections.abc import Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict

import click

from gateway.access_file import tiers_of
from gateway.assembly.access import STORE_TIMEOUT
from gateway.assembly.far_side import far_side
from gateway.auth import KeyHasher, KeyStore, KeyStoreAway, keys_without_tier
from gateway.cli.admin_client import printable
from gateway.cli.check_config import load_checked_settings
from gateway.cli.output import as_json as json_option
from gateway.cli.output import print_json
from gateway.doctor import Examination, Report
from gateway.doctor.configuration import exposure_findings, secret_findings, tier_findings
from gateway.settings import Settings
from gateway.store import connect
from gateway.store.address import parse
from gateway.telemetry.logs import configure_logs

_COLOURS = {"error": "red", "warning": "yellow"}


def _store(_: click.Context, __: click.Parameter, url: str | None) -> str | None:
    try:
        if url is not None:
            parse(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return url


@click.command()
@click.option(
    "--redis-url",
    callback=_store,
    help="Of a user who may ask how Redis is set up; the gateway's own may not.",
)
@click.option("--no-probe", is_flag=True, help="Do not call each version once with zeros.")
@json_option
def doctor(redis_url: str | None, no_probe: bool, as_json: bool) -> None:
    """Look for what would silently not work.

    Reads the settings, Triton, every model's configuration, Redis and the routes. Exits with 1 where something is
    broken or open, with 0 where there are only warnings.
    """
    settings = load_checked_settings()
    # What the catalog notices is among the findings.
    configure_logs(level="critical", style="console", dropped=lambda: None)
    report = asyncio.run(_examine(settings, redis_url or settings.redis_url, probes=not no_probe))
    if as_json:
        print_json({**asdict(report), "errors": report.errors})
    else:
        _tell(report)
    raise SystemExit(1 if report.errors else 0)


async def _examine(settings: Settings, operator_url: str, *, probes: bool) -> Report:
    far = far_side(settings)
    urls = (settings.redis_url, operator_url, re.sub(r"//[^/@]*@", "//", settings.redis_url))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(far.replicas)
        await far.replicas.resolve()
        redis, operator, stranger = [
            await stack.enter_async_context(connect(url, timeout=STORE_TIMEOUT)) for url in urls
        ]
        report = await Examination(
            triton=far.triton,
            catalog=far.catalog,
            redis=redis,
            operator=operator,
            stranger=stranger,
            clock=time.monotonic,
        ).run(probes=probes)
        hasher = KeyHasher(settings.key_pepper.get_secret_value().encode())
        store = KeyStore(redis, hasher=hasher, environment=settings.environment, clock=time.time)
        strays = await _keys_without_tier(store, tiers_of(settings.access_file))
    own = [
        *secret_findings(settings.key_pepper.get_secret_value(), settings.token_secret.get_secret_value()),
        *exposure_findings(settings.host, settings.environment, settings.metrics_networks),
        *tier_findings(strays),
    ]
    return Report([*own, *report.findings], report.unchecked)


async def _keys_without_tier(store: KeyStore, tiers: Collection[str]) -> Mapping[str, int]:
    """None where Redis cannot be used, which is a finding of its own."""
    try:
        return keys_without_tier((await store.listing()).records, tiers, time.time())
    except KeyStoreAway:
        return {}


def _tell(report: Report) -> None:
    for finding in report.findings:
        click.echo(
            f"{click.style(finding.severity, fg=_COLOURS[finding.severity], bold=True)}  "
            f"{printable(finding.subject)}: {printable(finding.problem)}  [{finding.code}]\n"
            f"  mend: {printable(finding.mend)}\n"
        )
    for sentence in report.unchecked:
        click.echo(f"not checked  {sentence}\n")
    warnings = len(report.findings) - report.errors
    click.echo(f"{report.errors} error(s), {warnings} warning(s).")
