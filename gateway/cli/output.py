"""Where the commands print: tables for people, JSON for machines."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.admin_client import printable

_PIPE_WIDTH = 400  # nothing is cut short for a program that reads it

as_json: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="JSON, for machines."
)


def console() -> Console:
    """Of the terminal, or of whatever stands in its place; made late, when standard output is what it will be."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


@contextlib.contextmanager
def done(what: str) -> Iterator[None]:
    """Around the output of what is done: whoever cannot be shown it is told `what` that was, and what to do."""
    try:
        yield
    except OSError as error:
        error.add_note(what)
        raise


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Text only: what looks like markup or a terminal's commands is printed as it stands, or not at all."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    console().print(made)
