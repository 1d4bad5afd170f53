"""`gateway canary watch`: the routes as they move, in a terminal, as lines, or as JSON."""

import json
import time
from collections.abc import Callable, Iterable

import click
from rich.console import Console
from rich.live import Live

from gateway.cli.admin_client import AdminClient, route_path
from gateway.cli.canary.board import Board, line, lines, status, table
from gateway.cli.canary.feed import Connected, Item, Lost, ServerEvent, follow
from gateway.cli.output import as_json, console, print_json

_STREAM = "/admin/v1/events"

Clock = Callable[[], float]


@click.command()
@click.argument("model", required=False)
@click.option("--once", is_flag=True, help="One frame, and end.")
@as_json
@click.pass_obj
def watch(client: AdminClient, model: str | None, once: bool, as_json: bool) -> None:
    """Watch MODEL, or all models, until Ctrl-C: weights, requests, errors, latency, agreement, decision.

    Figures are of the last minute. It goes on when the gateway was away. With --json each event is a line.
    """
    board = _now(client, model)
    if once:
        _print_once(board, as_json=as_json)
        return
    items = follow(client, _STREAM, time.sleep)
    screen = console()
    try:
        if as_json:
            print_events(model, items)
        elif screen.is_terminal:
            draw(screen, board, items, time.monotonic)
        else:
            print_lines(board, items, time.monotonic)
    except KeyboardInterrupt:
        return  # that is how it ends


def draw(screen: Console, board: Board, items: Iterable[Item], clock: Clock) -> None:
    """A live table. It is drawn by a thread of its own, also while nothing comes."""
    standing = [board]

    def frame() -> object:
        return table(standing[0], clock())

    with Live(get_renderable=frame, console=screen, refresh_per_second=4):  # type: ignore[arg-type]
        for item in items:
            standing[0] = standing[0].after(item, clock())


def print_lines(board: Board, items: Iterable[Item], clock: Clock) -> None:
    """A line whenever what is known of a model is something else than before."""
    printed: dict[str, str] = {}
    for item in items:
        board = board.after(item, clock())
        if isinstance(item, Lost) or (isinstance(item, Connected) and board.gaps):
            click.echo(status(board), err=True)
        if not isinstance(item, ServerEvent):
            continue
        model = str(item.document.get("model"))
        if model in board.routes:
            text = line(board.routes[model], board.report(model, clock()))
            if printed.get(model) != text:
                click.echo(text)
            printed[model] = text


def print_events(model: str | None, items: Iterable[Item]) -> None:
    """A JSON object a line; also for a stream that broke off."""
    for item in items:
        if isinstance(item, Lost):
            click.echo(json.dumps({"event": "lost", "data": {"detail": item.why}}, ensure_ascii=False))
        elif isinstance(item, ServerEvent) and model in (None, item.document.get("model")):
            click.echo(json.dumps({"event": item.name, "data": item.document}, ensure_ascii=False))


def _now(client: AdminClient, model: str | None) -> Board:
    """Read, not waited for: the stream brings reports only of rollouts under way. A wrong name or key shows here."""
    routes = (
        [client.get(route_path(model)).document]
        if model
        else client.get("/admin/v1/canaries").document["canaries"]
    )
    reports = {route["model"]: client.get(route_path(route["model"], "report")).document for route in routes}
    now = time.monotonic()
    return Board(
        model,
        {route["model"]: route for route in routes},
        {name: (now, found) for name, found in reports.items()},
    )


def _print_once(board: Board, *, as_json: bool) -> None:
    screen = console()
    if as_json:
        reports = {name: report for name, (_, report) in board.reports.items()}
        print_json([{"route": route, "report": reports.get(name)} for name, route in board.routes.items()])
    elif screen.is_terminal:
        screen.print(table(board, time.monotonic()))
    else:
        for text in lines(board, time.monotonic()):
            click.echo(text)
