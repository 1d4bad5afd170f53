"""`gateway canary promote|rollback|pause|resume|abort|undo|freeze|unfreeze`: one call each; none reads first."""

import click

from gateway.cli.admin_client import AdminClient, route_path
from gateway.cli.canary.change import explained
from gateway.cli.canary.wording import summary
from gateway.cli.output import as_json, print_json

_ACTIONS = {
    "promote": "The canary becomes the stable version.",
    "rollback": "Everybody back to the stable version; passes a frozen route too.",
    "pause": "The plan waits at its weight; the guard watches on.",
    "resume": "The plan goes on.",
    "abort": "End the rollout without a verdict on the canary.",
    "undo": "Take the last change back; a plan that ran then waits.",
    "freeze": "Let nothing but a rollback pass.",
    "unfreeze": "Let changes pass again.",
}


def actions() -> list[click.Command]:
    """A command for each."""
    return [_action(name, told) for name, told in _ACTIONS.items()]


def _action(name: str, told: str) -> click.Command:
    @click.command(name, help=told)
    @click.argument("model")
    @click.option("--reason", default="", help="For the log.")
    @click.option("--generation", type=click.IntRange(min=0), help="Only if the route still is at this one.")
    @as_json
    @click.pass_obj
    def command(client: AdminClient, model: str, reason: str, generation: int | None, as_json: bool) -> None:
        body = {"reason": reason} if reason else {}
        etag = None if generation is None else f'"{generation}"'
        with explained(client, model, generation or 0):
            route = client.send("POST", route_path(model, name), body, etag=etag).document
        if as_json:
            print_json(route)
        else:
            click.echo(summary(route))

    return command
