"""`gateway canary list|show|check|report|events|callers`: what stands and what is known; changes nothing."""

from collections.abc import Iterator, Mapping
from datetime import datetime

import click

from gateway.canary.lifecycle import percent
from gateway.cli.admin_client import AdminClient, Document, printable, route_path
from gateway.cli.canary.wording import NOTHING, agreement, changes, decision, moment, said, shown, unreadable
from gateway.cli.output import as_json, print_json, print_table

_ROUTE_FIELDS = (
    *("stable", "canary", "weight", "sticky", "mirror", "steps", "step", "lease", "always", "lives"),
    *("frozen", "phase", "reason", "since"),
)


@click.command("list")
@as_json
@click.pass_obj
def list_(client: AdminClient, as_json: bool) -> None:
    """Show the routes of all models."""
    found = client.get("/admin/v1/canaries").document
    if as_json:
        print_json(found)
        return
    columns = ("model", "stable", "canary", "weight", "mirror", "phase", "lease", "generation", "reason")
    print_table(columns, [_row(route) for route in found["canaries"]])


@click.command()
@click.argument("model")
@as_json
@click.pass_obj
def show(client: AdminClient, model: str, as_json: bool) -> None:
    """Show a model's route."""
    route = client.get(route_path(model)).document
    if as_json:
        print_json(route)
        return
    click.echo(printable(f"{route['model']}, generation {route['generation']}"))
    for name in _ROUTE_FIELDS:
        value = moment(route[name]) if name == "since" and route[name] else route[name]
        click.echo(f"  {name:8} {said(name, value)}")
    guard = ", ".join(f"{name} {said(f'guard.{name}', value)}" for name, value in route["guard"].items())
    click.echo(f"  guard    {guard}")
    if route["unreadable"]:
        click.echo(printable(unreadable(route)), err=True)


@click.command()
@click.argument("model")
@click.option("--to", required=True, metavar="VERSION", help="The version that shall become the canary.")
@as_json
@click.pass_obj
def check(client: AdminClient, model: str, to: str, as_json: bool) -> None:
    """Run the pre-flight of a canary alone; exits with 1 where it fails."""
    found = client.send("POST", route_path(model, "check"), {"to": to}).document
    if as_json:
        print_json(found)
    else:
        for done in found["checks"]:
            mark = click.style("pass", fg="green") if done["passed"] else click.style("FAIL", fg="red")
            click.echo(f"{mark}  {printable(done['name'])}: {printable(done['detail'])}")
        verdict = "is fit for traffic" if found["passed"] else "is not fit for traffic"
        click.echo(f"version {printable(to)} of {printable(model)} {verdict}")
    if not found["passed"]:
        click.get_current_context().exit(1)


@click.command()
@click.argument("model")
@as_json
@click.pass_obj
def report(client: AdminClient, model: str, as_json: bool) -> None:
    """Compare the versions of a model over the last minute: requests, errors, latency, agreement, decision."""
    found = client.get(route_path(model, "report")).document
    if as_json:
        print_json(found)
        return
    click.echo(
        printable(f"{found['model']}, generation {found['generation']}, the last {found['seconds']} s")
    )
    columns = ("", "version", "requests", "errors", "p50", "p95")
    print_table(columns, [_side(name, found[name]) for name in ("stable", "canary") if found[name]])
    for name, text in _findings(found):
        click.echo(printable(f"{name:12} {text}"))


@click.command()
@click.argument("model")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@as_json
@click.pass_obj
def events(client: AdminClient, model: str, limit: int, as_json: bool) -> None:
    """Show who changed a route, when, how and why; the newest first."""
    found = client.get(route_path(model, "events"), limit=limit).document
    if as_json:
        print_json(found)
        return
    rows = [
        (moment(event["at"]), str(event["generation"]), event["actor"], event["action"], _changed(event))
        for event in found["events"]
    ]
    print_table(("at", "generation", "actor", "action", "change"), rows)


@click.command()
@click.argument("model")
@click.argument("version")
@as_json
@click.pass_obj
def callers(client: AdminClient, model: str, version: str, as_json: bool) -> None:
    """Show who still calls a version that is deprecated or has a sunset, over a week; the latest first."""
    found = client.get(route_path(model, "callers"), version=version).document
    if as_json:
        print_json(found)
        return
    rows = [(caller["tenant"], caller["id"], moment(caller["last_seen"])) for caller in found["callers"]]
    print_table(("tenant", "caller", "last seen"), rows)


def _row(route: Document) -> tuple[str, ...]:
    phase = route["phase"] + (", frozen" if route["frozen"] else "")
    return (
        route["model"],
        route["stable"],
        route["canary"] or NOTHING,
        percent(route["weight"]),
        percent(route["mirror"]),
        phase,
        NOTHING if route["lease"] is None else said("lease", route["lease"]),
        str(route["generation"]),
        unreadable(route) or route["reason"],
    )


def _side(name: str, side: Document) -> tuple[str, ...]:
    figures = shown(side)
    return (name, side["version"], *(figures[column] for column in ("requests", "errors", "p50", "p95")))


def _findings(found: Document) -> Iterator[tuple[str, str]]:
    """What does not stand in the table."""
    compared: Document = found["agreement"]
    yield "agreement", agreement(compared)
    for name in ("overlap", "score_drift"):
        if compared[name] is not None:
            yield name.replace("_", " "), f"{compared[name]:.3f}"
    for label, tally in compared["classes"].items():
        yield "class", f"{label}: {_listed(tally)}"
    for name in ("failed", "dropped"):
        if compared[name]:
            yield name, _listed(compared[name])
    if compared["disagreements"]:
        yield "kept", f"{len(compared['disagreements'])} disagreements; --json shows them"
    yield "decision", decision(found["decision"])


def _listed(counts: Mapping[str, int]) -> str:
    """Such as "5 agreed, 3 changed to"; what never happened is left out."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _changed(event: Document) -> str:
    """Why, and from what to what."""
    before, after = _at(event, "before"), _at(event, "after")
    if after is None:
        fields = ["the route was deleted"]
    elif before is None:
        fields = [f"{name} {said(name, after[name])}" for name in ("stable", "canary", "weight")]
    else:
        fields = [f"{name} {old} -> {new}" for name, old, new in changes(before, after)]
    return "; ".join([*([event["reason"]] if event["reason"] else []), *fields])


def _at(event: Document, name: str) -> Document | None:
    """The route before or after the event; the log has the moment at which a lease ends, the API what is left of it."""
    route: Document | None = event[name]
    if route is None or route.get("lease") is None:
        return route
    return {**route, "lease": max(0.0, route["lease"] - datetime.fromisoformat(event["at"]).timestamp())}
