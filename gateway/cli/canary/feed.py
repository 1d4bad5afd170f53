"""Server-sent events of the gateway, followed for ever: what comes, and where it broke off and went on."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import click

from gateway.cli.admin_client import Document, Refused, Unreachable

_LINE_END = re.compile(rb"\r\n|\n|\r")  # what `str.splitlines` takes for one too may stand in the data
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 5.0


class Streams(Protocol):
    def stream(self, path: str) -> AbstractContextManager[Iterator[bytes]]:
        """Raises Unreachable or Refused, also while it is read."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: `document` is its data."""

    name: str
    document: Document


@dataclass(frozen=True, slots=True)
class Connected:
    """The stream begins, or begins again: all routes follow."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream broke off, or could not be begun; it is tried again after a moment."""

    why: str


Item = ServerEvent | Connected | Lost


def follow(client: Streams, path: str, sleep: Callable[[float], None]) -> Iterator[Item]:
    """Never ends, whatever the gateway does; only a refusal that no waiting mends is raised.

    The gateway ends each stream after some minutes, so that an end alone is no news; that nobody answers then is.
    """
    wait = _FIRST_WAIT
    while True:
        why = ""
        try:
            with client.stream(path) as chunks:
                wait = _FIRST_WAIT
                yield Connected()
                yield from events(chunks)
        except Unreachable as error:
            why = error.message
        except Refused as error:
            if error.status < 500 and error.status != 429:
                raise
            why = error.message
        if why:
            yield Lost(why)
        sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """As WHATWG's HTML reads a stream, 9.2.6; comments, ids and retry times mean nothing here."""
    name = ""
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield _event(name or "message", "\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        if field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Complete lines; a CR at the end of a chunk waits for its LF."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        held = rest.endswith(b"\r")
        *complete, tail = _LINE_END.split(rest[:-1] if held else rest)
        rest = tail + b"\r" if held else tail
        for line in complete:
            yield line.decode("utf-8", "replace")


def _event(name: str, data: str) -> ServerEvent:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise click.ClickException(f"the stream brings a {name!r} that is no JSON object: is it a gateway's?")
    return ServerEvent(name, document)
