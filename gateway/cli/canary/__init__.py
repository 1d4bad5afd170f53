"""`gateway canary`: move traffic between the versions of a model, over the administration of a running gateway."""

import click

from gateway.cli.admin_client import DEFAULT_URL, AdminClient
from gateway.cli.canary.act import actions
from gateway.cli.canary.apply import apply
from gateway.cli.canary.set import set_
from gateway.cli.canary.show import callers, check, events, list_, report, show
from gateway.cli.canary.watch import watch


@click.group()
@click.option("--url", envvar="GATEWAY_URL", default=DEFAULT_URL, show_default=True, show_envvar=True)
@click.option("--key", envvar="GATEWAY_ADMIN_KEY", show_envvar=True, help="With the scope admin:canary.")
@click.pass_context
def canary(context: click.Context, url: str, key: str | None) -> None:
    """Canary routing: which version of a model answers whom."""
    client = AdminClient(url, key, scope="admin:canary")  # a pre-flight waits for the models
    context.obj = client
    context.call_on_close(client.close)


for _command in (list_, show, set_, check, report, events, callers, watch, apply, *actions()):
    canary.add_command(_command)
