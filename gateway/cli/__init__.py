"""The `gateway` command. A command's module is imported when it runs: some of them need a second just for that."""

import contextlib
import errno
import importlib
import sys
from typing import Any

import click

_COMMANDS = {
    "canary": "gateway.cli.canary",
    "check-config": "gateway.cli.check_config",
    "doctor": "gateway.cli.doctor",
    "keys": "gateway.cli.keys",
    "models": "gateway.cli.models",
    "serve": "gateway.cli.serve",
    "tokens": "gateway.cli.tokens",
}

_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class _Commands(click.Group):
    """The commands by name; each stands in its module under its own name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(
            importlib.import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_")
        )
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """An output that cannot be written is told of in one line, with what was done all the same: `done` in
        gateway.cli.output. That its reader left is else a matter of click's.
        """
        try:
            return super().invoke(ctx)
        except OSError as error:
            done = getattr(error, "__notes__", [])
            if error.errno not in _UNWRITTEN and not done:
                raise
            with contextlib.suppress(OSError):
                sys.stdout.close()  # or the interpreter would try to write the rest at its end
            told = "; ".join([f"the output cannot be written: {error.strerror}", *done])
            raise click.ClickException(told) from None


@click.group(cls=_Commands)
@click.version_option(package_name="triton-gateway")
def main() -> None:
    """A gateway in front of NVIDIA Triton. Settings come from GATEWAY_… environment variables."""
