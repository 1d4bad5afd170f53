"""`gateway canary apply`: make the routes what a file says, after showing the difference."""

from collections.abc import Sequence
from pathlib import Path

import click

from gateway.canary.routes_file import RoutesFileError, read_routes_file
from gateway.cli.admin_client import AdminClient, Answer, Refused, printable, route_path
from gateway.cli.canary.change import change
from gateway.cli.canary.declared import Comparison, Standing, compare
from gateway.cli.canary.wording import summary
from gateway.cli.output import as_json, print_json

_DIFFERENT = 2  # the exit code of a dry run, as `diff` and its like have one
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command()
@click.option(
    "-f", "--file", "path", type=click.Path(path_type=Path), required=True, help="YAML, or TOML by its name."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Change nothing; exits with 2 where something would change.")
@click.option("--restart", is_flag=True, help="Begin again what was rolled back, promoted or ended.")
@as_json
@click.pass_obj
def apply(client: AdminClient, path: Path, yes: bool, dry_run: bool, restart: bool, as_json: bool) -> None:
    """Make the routes what a file says; models that it does not name stay as they are.

    A second run changes nothing.
    """
    compared = _compared(client, path, restart=restart)
    differing = [found for found in compared if found.state is Standing.DIFFERS]
    if not as_json:
        _show(compared)
    if differing and not dry_run:
        if not yes:
            click.confirm(f"Change {len(differing)} of {len(compared)} routes?", abort=True, err=True)
        failed = _put(client, differing, quiet=as_json)
    else:
        failed = []
    if as_json:
        print_json([_told(found, failed) for found in compared])
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(differing)} routes could not be changed")
    if dry_run and differing:
        click.get_current_context().exit(_DIFFERENT)


def _compared(client: AdminClient, path: Path, *, restart: bool) -> list[Comparison]:
    """Everything is read before anything is changed."""
    try:
        routes = read_routes_file(path)
    except RoutesFileError as error:
        raise click.ClickException(printable(error)) from None
    return [compare(model, body, _standing(client, model), restart=restart) for model, body in routes.items()]


def _standing(client: AdminClient, model: str) -> Answer:
    """Raises what names the model, of which a file has many."""
    try:
        return client.get(route_path(model))
    except Refused as error:
        raise click.ClickException(f"{model}: {error.message}") from None


def _show(compared: Sequence[Comparison]) -> None:
    for found in compared:
        for line in found.diff:
            click.secho(line, fg=_COLOURS.get(line[:1]))
        if found.note or found.state is Standing.SAME:
            click.echo(f"{found.model}: {found.note or 'no change'}")


def _put(client: AdminClient, differing: Sequence[Comparison], *, quiet: bool) -> list[str]:
    """The models whose change was refused; one that fails its pre-flight does not hold up the others."""
    failed = []
    for found in differing:
        try:
            changed = change(client, "PUT", found.model, found.body, found.standing)
        except Refused as error:
            click.secho(f"{found.model}: {error.message}", fg="red", err=True)
            failed.append(found.model)
        else:
            click.echo(summary(changed.after), err=quiet)
    return failed


def _told(found: Comparison, failed: Sequence[str]) -> dict[str, object]:
    state = "failed" if found.model in failed else found.state.value
    return {"model": found.model, "state": state, "diff": list(found.diff), "note": found.note}
