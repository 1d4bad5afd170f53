"""`gateway check-config`: are the settings in the environment right? Starts and contacts nothing."""

import re

import click

from gateway.settings import Settings, SettingsError, read_settings, unknown


def load_settings() -> Settings:
    """The settings. Raises click.ClickException that names every variable which is wrong."""
    try:
        return read_settings()
    except SettingsError as error:
        raise _refusal(error) from None


def load_checked_settings(*, here: bool = False) -> Settings:
    """The settings, held to each other and with the files that they name read; `here`: also whether this machine could
    serve with them. Raises click.ClickException.
    """
    from gateway.assembly.checks import check  # noqa: PLC0415  # most commands need nothing of what reads them

    settings = load_settings()
    try:
        check(settings, here=here)
    except SettingsError as error:
        raise _refusal(error) from None
    return settings


def _refusal(error: SettingsError) -> click.ClickException:
    return click.ClickException(f"The settings are not valid.\n{error}")


def without_password(url: str) -> str:
    """The address of a store, fit to be printed."""
    return re.sub(r"(password=)[^&]*", r"\1…", re.sub(r"//[^/]*@", "//…@", url))


@click.command("check-config")
def check_config() -> None:
    """Check the settings, and the files that they name, and print them; warn of variables that are none."""
    for name, close in unknown().items():
        meant = f"; {close} is one" if close else ""
        click.echo(f"warning: {name} is not a setting and does nothing{meant}", err=True)
    for name, value in load_checked_settings(here=True).model_dump().items():
        click.echo(f"GATEWAY_{name.upper()}={without_password(value) if name == 'redis_url' else value}")
