"""A change of a route as the commands make it: by the generation that was read, told as old and new."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from gateway.cli.admin_client import (
    AdminClient,
    Answer,
    Document,
    Refused,
    Unreachable,
    printable,
    route_path,
)
from gateway.cli.canary.wording import changes, moment, summary

_LOOKED_AT = 20  # of the newest events, when somebody else was first


@dataclass(frozen=True, slots=True)
class Changed:
    """A route before and after a change."""

    before: Document
    after: Document


def change(client: AdminClient, method: str, model: str, body: Document, standing: Answer) -> Changed:
    """Raises Refused, with who was first where somebody else was."""
    with explained(client, model, standing.document["generation"]):
        answer = client.send(method, route_path(model), body, etag=standing.etag)
    return Changed(standing.document, answer.document)


def tell(changed: Changed) -> None:
    """Prints each field, old and new, and where the route stands now."""
    lines = fields(changes(changed.before, changed.after))
    click.echo("\n".join([*lines, summary(changed.after)]))


def fields(changed: Sequence[tuple[str, str, str]]) -> list[str]:
    width = max((len(name) for name, _, _ in changed), default=0)
    return [f"  {name:{width}}  {old} -> {new}" for name, old, new in changed]


@contextmanager
def explained(client: AdminClient, model: str, generation: int) -> Iterator[None]:
    """Adds to a lost race who won it, since that generation."""
    try:
        yield
    except Refused as error:
        if error.code != "precondition_failed":
            raise
        raise Refused(error.status, error.problem, _meanwhile(client, model, generation)) from None


def _meanwhile(client: AdminClient, model: str, generation: int) -> list[str]:
    try:
        found = client.get(route_path(model, "events"), limit=_LOOKED_AT).document["events"]
    except (Refused, Unreachable):
        return []  # the race is the news, not that its story could not be read
    newer = [event for event in found if event["generation"] > generation]
    return [
        printable(
            f"  {moment(event['at'])}  {event['actor']}  {event['action']} -> generation {event['generation']}"
            + (f"  {event['reason']}" if event["reason"] else "")
        )
        for event in sorted(newer, key=lambda event: event["generation"])
    ]
