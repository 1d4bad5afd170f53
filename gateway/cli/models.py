"""`gateway models`: what Triton has loaded; load, unload and heal it, over the administration of a running gateway."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from gateway.cli.admin_client import DEFAULT_URL, AdminClient, Document, model_path, printable
from gateway.cli.output import as_json, print_json, print_table

_COLUMNS = (
    *("model", "version", "state", "task", "requests", "failures"),
    *("queue ms", "compute ms", "batch", "reason"),
)
_LOAD_SECONDS = 150.0  # what the gateway waits for Triton, and a little more


@click.group()
@click.option("--url", envvar="GATEWAY_URL", default=DEFAULT_URL, show_default=True, show_envvar=True)
@click.option("--key", envvar="GATEWAY_ADMIN_KEY", show_envvar=True, help="With the scope admin:models.")
@click.pass_context
def models(context: click.Context, url: str, key: str | None) -> None:
    """Models in Triton: look at them, load, unload and heal them."""
    client = AdminClient(url, key, scope="admin:models", seconds=_LOAD_SECONDS)
    context.obj = client
    context.call_on_close(client.close)


@models.command("list")
@as_json
@click.pass_obj
def list_(client: AdminClient, as_json: bool) -> None:
    """Show all models of the repository."""
    found = client.get("/admin/v1/models").document
    if as_json:
        print_json(found)
    else:
        print_table(_COLUMNS, [row for model in found["models"] for row in _rows(model)])


@models.command()
@click.argument("model")
@as_json
@click.pass_obj
def show(client: AdminClient, model: str, as_json: bool) -> None:
    """Show one model, and the batches that Triton made."""
    _tell(client.get(model_path(model)).document, as_json)


@models.command()
@click.argument("model")
@click.option("--config", metavar="JSON", help="Merged into its configuration until it is unloaded.")
@click.option(
    "--force", is_flag=True, help="Even a change that takes away what is needed, or that does not hold."
)
@as_json
@click.pass_obj
def load(client: AdminClient, model: str, config: str | None, force: bool, as_json: bool) -> None:
    """Load a model, or again where its files changed."""
    body: dict[str, Any] = {"force": force}
    if config is not None:
        body["config"] = _config(config)
    _tell(client.send("POST", model_path(model, "load"), body).document, as_json)


@models.command()
@click.argument("model")
@click.option("--force", is_flag=True, help="Even what a route or a default needs.")
@as_json
@click.pass_obj
def unload(client: AdminClient, model: str, force: bool, as_json: bool) -> None:
    """Unload a model."""
    _tell(client.send("POST", model_path(model, "unload"), {"force": force}).document, as_json)


@models.command()
@click.argument("model")
@as_json
@click.pass_obj
def heal(client: AdminClient, model: str, as_json: bool) -> None:
    """Unload a model and load it at once; its callers get 503 in between."""
    _tell(client.send("POST", model_path(model, "heal")).document, as_json)


def _config(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"this is no JSON: {error}", param_hint="--config") from None
    if not isinstance(found, dict):
        raise click.BadParameter("one JSON object", param_hint="--config")
    return found


def _tell(model: Document, as_json: bool) -> None:
    if as_json:
        print_json(model)
        return
    print_table(_COLUMNS, _rows(model))
    for version in model["versions"]:
        batches = (version["statistics"] or {}).get("batches") or ()
        made = ", ".join(f"{each['executions']} of {each['size']}" for each in batches)
        if made:
            click.echo(printable(f"batches of version {version['version']}: {made}"))
    for reason in model["needed"]:
        click.echo(printable(f"needed: {reason}"))


def _rows(model: Document) -> Iterator[tuple[str, ...]]:
    """One a version; one for the model where none was ever loaded."""
    for version in model["versions"] or [{"version": "", "state": "", "reason": "", "statistics": None}]:
        known = version["statistics"] or {}
        yield (
            model["name"],
            version["version"],
            version["state"],
            model["task"] or "",
            *(
                _cell(known.get(name))
                for name in ("requests", "failures", "queue_ms", "compute_ms", "mean_batch")
            ),
            version["reason"] or model["reason"],
        )


def _cell(value: object) -> str:
    return "" if value is None else str(value)
