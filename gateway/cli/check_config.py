"""`gateway check-config`: are the settings in the environment right? Starts and contacts nothing."""

import re

import click
from pydantic import ValidationError

from gateway.settings import Settings, unknown


def load_settings() -> Settings:
    """The settings. Raises click.ClickException that names every variable which is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            ": ".join([*(f"GATEWAY_{part}".upper() for part in item["loc"][:1]), _sentence(item["msg"])])
            for item in error.errors(include_url=False)
        ]
        raise click.ClickException("\n".join(["The settings are not valid.", *lines])) from None


def without_password(url: str) -> str:
    """The address of a store, fit to be printed."""
    return re.sub(r"(password=)[^&]*", r"\1…", re.sub(r"//[^/]*@", "//…@", url))


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")


@click.command("check-config")
def check_config() -> None:
    """Check the settings and print them; warn of variables that are none."""
    for name, close in unknown().items():
        meant = f"; {close} is one" if close else ""
        click.echo(f"warning: {name} is not a setting and does nothing{meant}", err=True)
    for name, value in load_settings().model_dump().items():
        click.echo(f"GATEWAY_{name.upper()}={without_password(value) if name == 'redis_url' else value}")
