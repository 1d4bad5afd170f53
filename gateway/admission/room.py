"""The bounded waiting room: first come, first served within a class, weighted turns between classes (pure)."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gateway.domain import Priority

WEIGHTS: Mapping[Priority, int] = {Priority.INTERACTIVE: 16, Priority.STANDARD: 4, Priority.BATCH: 1}


class State(Enum):
    """Where a ticket is. WAITING becomes GRANTED, SHED, EXPIRED or LEFT; GRANTED becomes DONE."""

    WAITING = auto()
    GRANTED = auto()
    SHED = auto()
    EXPIRED = auto()
    LEFT = auto()
    DONE = auto()


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's claim to a call. Times are on the monotonic clock.

    `settled` is called with the ticket once, when it is granted, shed or expired. `behind` is the number of its
    class that were there first.
    """

    priority: Priority
    expires: float
    entered: float
    settled: Callable[["Ticket"], None]
    behind: int = 0
    granted: float = 0.0
    state: State = State.WAITING


class Room:
    """Up to `places` tickets that wait, of which each class is sure of one and of its weight's share of the others.

    Stride scheduling: a class's next turn is 1/weight after its last, and the earliest goes first. So a class with
    something waiting gets at least its weight's share of the turns, and one that was empty neither saves turns up
    nor owes any.
    """

    def __init__(self, places: int, weights: Mapping[Priority, int] = WEIGHTS) -> None:
        if places < len(Priority):
            raise ValueError(f"a place for each class is the least: {places}")
        spare = (places - len(Priority)) / sum(weights.values())
        self._places = places
        self._shares = {priority: 1 + int(spare * weights[priority]) for priority in Priority}
        self._queues: dict[Priority, OrderedDict[Ticket, None]] = {p: OrderedDict() for p in Priority}
        self._strides = {priority: 1 / weights[priority] for priority in Priority}
        self._turns = dict.fromkeys(Priority, 0.0)
        self._turn = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def waiting(self, priority: Priority) -> int:
        """Tickets of this class."""
        return len(self._queues[priority])

    def is_full_for(self, priority: Priority) -> bool:
        """Whether one more of this class would be the one to go."""
        return self._count >= self._places and self._to_shed(priority) is priority

    def wait(self, priority: Priority, rate: float | None, now: float) -> float:
        """Seconds that one who came now would wait for a turn at `rate` calls a second.

        Those who wait are not all: more urgent ones will come. How long the first of the class waits already
        tells how fast the class moves, so the estimate is no lower than that.
        """
        ahead = self._ahead(priority)
        by_rate = (ahead + 1) / rate if rate else 0.0
        first = next(iter(self._queues[priority]), None)
        if first is None:
            return by_rate
        return max(by_rate, (now - first.entered) * (self.waiting(priority) + 1) / (first.behind + 1))

    def _ahead(self, priority: Priority) -> float:
        own = len(self._queues[priority])
        turns = (own + 1) * self._strides[priority]
        ahead = float(own)
        for other, queue in self._queues.items():
            if queue and other is not priority:
                ahead += min(len(queue), turns / self._strides[other])
        return ahead

    def push(self, ticket: Ticket) -> None:
        ticket.behind = len(self._queues[ticket.priority])
        self._queues[ticket.priority][ticket] = None
        self._count += 1

    def first(self, open_to: Callable[[Priority], bool]) -> Ticket | None:
        """Whose turn it is among the classes that may go; it stays here until it is taken or removed."""
        turns = [
            (max(self._turns[p], self._turn), p) for p, queue in self._queues.items() if queue and open_to(p)
        ]
        if not turns:
            return None
        return next(iter(self._queues[min(turns)[1]]))

    def take(self, ticket: Ticket) -> None:
        """Removes a ticket that got its turn."""
        self.remove(ticket)
        self._turn = max(self._turns[ticket.priority], self._turn)
        self._turns[ticket.priority] = self._turn + self._strides[ticket.priority]

    def remove(self, ticket: Ticket) -> None:
        """Removes a ticket without using its class's turn."""
        del self._queues[ticket.priority][ticket]
        self._count -= 1

    def evict(self) -> Ticket | None:
        """Above the number of places, removes the newest of the lowest class that has more than its share."""
        lowest = self._to_shed() if self._count > self._places else None
        if lowest is None:
            return None
        ticket, _ = self._queues[lowest].popitem()
        self._count -= 1
        return ticket

    def _to_shed(self, coming: Priority | None = None) -> Priority | None:
        for priority, queue in reversed(self._queues.items()):
            if len(queue) + (priority is coming) > self._shares[priority]:
                return priority
        return None
