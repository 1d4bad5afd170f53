"""A stream of events is read by the letter, and followed over every gap."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.admin_client import Refused, Unreachable
from gateway.cli.canary.feed import Connected, Lost, ServerEvent, events, follow

STREAM = (
    ": keep-alive\r\n\r\n"
    "event: route\r\ndata: {\"reason\":\r\ndata: \"a\\u2028b \u2028 \x85\"}\r\n\r\n"
    "id: 7\nretry: 10\nevent:report\ndata:{\"ö\": 1}\n\n"
    "event: never\n\n"
    "data: {}\r\r"
    "event: cut\ndata: {"
).encode()  # fmt: skip
EVENTS = [
    ServerEvent("route", {"reason": "a\u2028b \u2028 \x85"}),
    ServerEvent("report", {"ö": 1}),
    ServerEvent("message", {}),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_bytes_arrive(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(ends)]
    assert list(events(chunks)) == EVENTS


@pytest.mark.parametrize("data", ["no json", "[1]", "null"])
def test_a_stream_that_is_not_the_gateway_s_is_refused(data: str) -> None:
    with pytest.raises(click.ClickException, match="no JSON object"):
        list(events([f"event: route\ndata: {data}\n\n".encode()]))


class Scripted:
    """Answers each call by the next of its turns: chunks, or an error."""

    def __init__(self, *turns: Sequence[bytes] | Exception) -> None:
        self._turns = iter(turns)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        assert path == "/events"
        turn = next(self._turns)
        if isinstance(turn, Exception):
            raise turn
        yield iter(turn)


def refused(status: int) -> Refused:
    return Refused(status, {"title": "No", "detail": "not now", "code": "no"})


ONE = b'data: {"n": 1}\n\n'


def test_a_stream_that_ends_is_taken_up_again_without_a_word() -> None:
    waits: list[float] = []
    followed = follow(Scripted([ONE], [ONE]), "/events", waits.append)
    one = ServerEvent("message", {"n": 1})
    assert list(islice(followed, 4)) == [Connected(), one, Connected(), one]
    assert waits == [0.5]


def test_waiting_gets_longer_up_to_a_bound_and_begins_anew_after_a_connection() -> None:
    away = Unreachable("away")
    waits: list[float] = []
    followed = follow(Scripted(*[away] * 6, [ONE], away, away), "/events", waits.append)
    one = ServerEvent("message", {"n": 1})
    assert list(islice(followed, 10)) == [*[Lost("away")] * 6, Connected(), one, *[Lost("away")] * 2]
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 0.5, 1.0]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_refusal_that_passes_is_waited_for(status: int) -> None:
    followed = follow(Scripted(refused(status), [ONE]), "/events", lambda _: None)
    assert list(islice(followed, 2)) == [Lost("No: not now"), Connected()]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_that_stays_ends_it(status: int) -> None:
    with pytest.raises(Refused, match="No: not now"):
        next(follow(Scripted(refused(status)), "/events", lambda _: None))
