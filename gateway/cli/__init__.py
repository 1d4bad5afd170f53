"""The `gateway` command."""

import click

from gateway.cli.canary import canary
from gateway.cli.check_config import check_config
from gateway.cli.keys import keys
from gateway.cli.serve import serve
from gateway.cli.tokens import tokens


@click.group()
@click.version_option(package_name="triton-gateway")
def main() -> None:
    """A gateway in front of NVIDIA Triton. Settings come from GATEWAY_… environment variables."""


main.add_command(serve)
main.add_command(check_config)
main.add_command(keys)
main.add_command(tokens)
main.add_command(canary)
