"""The gate before a server of which some calls take five times as long as the others, in virtual time."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from gateway.admission.gate import Gate, GatePolicy, Outcome
from gateway.admission.limit import LimitPolicy
from gateway.admission.room import State, Ticket
from gateway.domain import Priority
from gateway.errors import DeadlineExceeded, Overloaded

SLOTS = 16
FAST, SLOW, SLOW_SHARE = 0.02, 0.1, 0.2  # seconds
CAPACITY = SLOTS / (FAST + SLOW_SHARE * (SLOW - FAST))  # by Little's law


class Server:
    """Answers each call by itself; what it answered, and what the gate refused, is counted from a time on."""

    def __init__(self) -> None:
        self.gate = Gate(GatePolicy(LimitPolicy(target=0.4, lowest=2, start=SLOTS, highest=SLOTS)))
        self.answered = self.refused = 0
        self._random = random.Random(7)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._now = 0.0

    def offer(self, priority: Priority, rate: float, start: float, end: float) -> None:
        while (start := start + self._random.expovariate(rate)) < end:
            self._at(start, lambda: self._enter(priority))

    def run(self, counted_from: float) -> float:
        """The share of what came after that time which was refused."""
        while self._events:
            before = self._now
            self._now, _, event = heapq.heappop(self._events)
            if before < counted_from <= self._now:
                self.answered = self.refused = 0
            event()
            if (due := self.gate.due) is not None:
                self._at(max(due, self._now), lambda: self.gate.wake(self._now))
        return self.refused / (self.refused + self.answered)

    def _at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), event))

    def _enter(self, priority: Priority) -> None:
        try:
            self.gate.enter(priority, self._now + 1.0, self._now, self._settled)
        except (Overloaded, DeadlineExceeded):
            self.refused += 1

    def _settled(self, ticket: Ticket) -> None:
        if ticket.state is State.GRANTED:
            seconds = SLOW if self._random.random() < SLOW_SHARE else FAST
            self._at(self._now + seconds, lambda: self._answer(ticket, seconds))
        else:
            self.refused += 1

    def _answer(self, ticket: Ticket, seconds: float) -> None:
        self.answered += 1
        self.gate.release(ticket, Outcome.ANSWERED, seconds, self._now)


@pytest.mark.parametrize("priority", [Priority.STANDARD, Priority.BATCH])
def test_a_few_slow_calls_do_not_slow_the_pace_for_all(priority: Priority) -> None:
    server = Server()
    server.offer(priority, 0.67 * CAPACITY, 0, 20)
    assert server.run(counted_from=1) < 0.01


def test_what_urgent_calls_took_is_not_owed_for_longer_than_a_call_takes() -> None:
    server = Server()
    server.offer(Priority.INTERACTIVE, 0.9 * CAPACITY, 0, 60)
    server.offer(Priority.STANDARD, 0.67 * CAPACITY, 60, 65)
    assert server.run(counted_from=60.5) < 0.01
