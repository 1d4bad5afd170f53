"""`gateway canary set`: change some of a route, by the generation that was read."""

from typing import Any

import click

from gateway.cli.admin_client import AdminClient, route_path
from gateway.cli.canary.change import change, tell
from gateway.cli.canary.options import BOUND, DURATION, LEASE, NUMBER, SHARE, WEIGHT, WEIGHTS, merge_patch
from gateway.cli.output import as_json, print_json


@click.command("set", short_help="Change some of a route: versions, weight, plan, guard, lease.")
@click.argument("model")
@click.option("--stable", metavar="VERSION", help="Who answers everybody else.")
@click.option("--canary", metavar="VERSION", help="Who is tried; none ends it and forgets its plan.")
@click.option("--weight", type=WEIGHT, help="By hand: 5%, or 500 basis points.")
@click.option("--sticky", metavar="SUBJECT", help="principal, header:<name> or cookie:<name>.")
@click.option(
    "--mirror", type=WEIGHT, help="Share of stable traffic whose answers are compared, as --weight."
)
@click.option("--lease", type=LEASE, help="Back to stable after 90s, 2h, 1d unless renewed; none: for ever.")
@click.option("--always", multiple=True, help="Key or tenant that is always on the canary; repeat it; none.")
@click.option("--steps", type=WEIGHTS, help="The plan: 1%,5%,25%,50%,100%; none forgets it.")
@click.option("--step-seconds", type=DURATION, help="The least time at each step.")
@click.option(
    "--step-requests", "step_requests", type=click.IntRange(min=0), help="The fewest requests there."
)
@click.option("--min-requests", type=int, help="Guard: on the canary, before it is judged.")
@click.option("--max-error-gap", type=SHARE, help="Guard: how far its error rate may lie above stable's.")
@click.option("--error-z", type=NUMBER, help="Guard: and by how many standard errors, at least.")
@click.option("--latency-factor", type=NUMBER, help="Guard: how much longer its p95 may be.")
@click.option("--latency-windows", type=int, help="Guard: in how many windows in a row.")
@click.option("--window", type=int, help="Guard: seconds of such a window.")
@click.option(
    "--min-agreement", type=BOUND, help="Guard: share of compared answers that agree; none: unjudged."
)
@click.option("--min-compared", type=int, help="Guard: answers compared, before agreement is judged.")
@as_json
@click.pass_obj
def set_(client: AdminClient, /, model: str, as_json: bool, **options: Any) -> None:
    """Change some of MODEL's route; the rest stays.

    With --steps and no --weight the plan begins at its first step. If somebody else changes the route meanwhile,
    nothing is changed, and who it was is told.
    """
    body = merge_patch(options)
    changed = change(client, "PATCH", model, body, client.get(route_path(model)))
    if as_json:
        print_json(changed.after)
    else:
        tell(changed)
