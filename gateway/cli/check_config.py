"""`gateway check-config`: are the settings in the environment right? Starts and contacts nothing."""

import click
from pydantic import ValidationError

from gateway.settings import Settings


def load_settings() -> Settings:
    """The settings. Raises click.ClickException that names every variable which is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"GATEWAY_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}"
            for item in error.errors(include_url=False)
        ]
        raise click.ClickException("\n".join(["The settings are not valid.", *lines])) from None


@click.command("check-config")
def check_config() -> None:
    """Check the settings and print them."""
    for name, value in load_settings().model_dump().items():
        click.echo(f"GATEWAY_{name.upper()}={value}")
