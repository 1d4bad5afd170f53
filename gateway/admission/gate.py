"""Admission to one replica as a state machine: who may call now, who waits, who is refused (pure).

Every method takes `now` and is synchronous, so that the whole of it runs in virtual time as well as under asyncio.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from gateway.admission.limit import AdaptiveLimit, LimitPolicy
from gateway.admission.rate import Pace, ServiceRate
from gateway.admission.room import WEIGHTS, Room, State, Ticket
from gateway.domain import Priority
from gateway.errors import DeadlineExceeded, Overloaded

_UNKNOWN_WAIT = 1.0  # seconds, for Retry-After before the service rate was ever measured
# How much slower than the server is the pace of what is not urgent, so that slots are left for what is. The 90th
# percentile would do where calls take about as long as each other; a few slow ones would halve the pace for all.
_RESERVE = 1.2
_UNPACED = 0.5  # share of the limit that is filled at once: the batch that runs, while the next one gathers


class Outcome(Enum):
    """What the end of a call tells about load."""

    ANSWERED = auto()  # its latency is a measurement
    FULL = auto()  # the server's queue was full
    LATE = auto()  # the time ran out
    UNKNOWN = auto()  # it failed for another reason, or was never made


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """`places` bounds the waiting room; `patience` is the share of its remaining time that a request may wait there."""

    limit: LimitPolicy
    places: int = 64
    patience: float = 0.5
    weights: Mapping[Priority, int] = field(default_factory=lambda: WEIGHTS)


@dataclass(frozen=True, slots=True)
class Load:
    """A gate at one moment, for metrics and health. `rate` is in calls a second, `typical` the median in seconds."""

    limit: int
    in_flight: int
    waiting: Mapping[Priority, int]
    rate: float | None
    typical: float


class Gate:
    """One replica's calls. Who enters gets a ticket, and gives it back with `release` or `leave`, always.

    While `due` is not None, `wake` has to be called at that time.
    """

    def __init__(self, policy: GatePolicy) -> None:
        self._policy = policy
        self._limit = AdaptiveLimit(policy.limit)
        self._room = Room(policy.places, policy.weights)
        self._rate = ServiceRate()
        self._pace = Pace()
        self._in_flight = 0

    @property
    def load(self) -> Load:
        waiting = {priority: self._room.waiting(priority) for priority in Priority}
        return Load(self._limit.value, self._in_flight, waiting, self._rate.value, self._limit.typical)

    @property
    def is_idle(self) -> bool:
        """Whether nobody calls or waits."""
        return not self._in_flight and not self._room

    @property
    def typical(self) -> float:
        """The median latency of its calls in seconds; 0 until it is known."""
        return self._limit.typical

    @property
    def due(self) -> float | None:
        """When a slot opens although no call ends; None where nobody waits for that."""
        return self._pace.due if self._room and self._in_flight < self._limit.value else None

    def check(self, priority: Priority, expires: float, now: float) -> None:
        """Whether to enter now; costs the same however many wait. A replica with nothing to do takes any request.

        Raises DeadlineExceeded where the time left is not enough, Overloaded where the room is.
        """
        if expires <= now:
            raise DeadlineExceeded("The request ran out of time before the model was called.")
        if self._in_flight == 0:
            return
        free = self._open_to(priority, now)
        wait = 0.0 if free else self._room.wait(priority, self._rate.value, now)
        if now + wait + self._limit.typical > expires:
            raise DeadlineExceeded(
                "The model is expected to answer after the deadline.", retry_after=wait or None
            )
        if not free and (self._room.is_full_for(priority) or wait > self._policy.patience * (expires - now)):
            raise _no_room(wait)

    def is_open(self, priority: Priority, now: float) -> bool:
        """Whether a call of this class would go at once, with nobody waiting."""
        return not self._room and self._open_to(priority, now)

    def shed(self, priority: Priority, now: float) -> Overloaded:
        """The error for a request that lost its place; retry_after is the wait it would have now."""
        return _no_room(self._room.wait(priority, self._rate.value, now))

    def enter(
        self, priority: Priority, expires: float, now: float, settled: Callable[[Ticket], None]
    ) -> Ticket:
        """A ticket that is granted or waits. Raises what `check` raises. In a full room a lower class gives way."""
        self.check(priority, expires, now)
        ticket = Ticket(priority, expires, now, settled)
        self._room.push(ticket)
        self._grant(now)
        if (shed := self._room.evict()) is not None:
            self._settle(shed, State.SHED)
        return ticket

    def enter_at_once(self, priority: Priority, expires: float, now: float) -> Ticket | None:
        """A ticket that is granted, or None where it would wait. Raises DeadlineExceeded where `check` does."""
        return self.enter(priority, expires, now, lambda _: None) if self.is_open(priority, now) else None

    def leave(self, ticket: Ticket, now: float) -> None:
        """Its owner gave up: the place is free, and a slot that was granted meanwhile goes to the next."""
        if ticket.state is State.WAITING:
            self._room.remove(ticket)
            ticket.state = State.LEFT
        else:
            self.release(ticket, Outcome.UNKNOWN, 0.0, now)

    def release(self, ticket: Ticket, outcome: Outcome, rtt: float, now: float) -> bool:
        """The call ended after `rtt` seconds. False, and nothing happens, where the ticket holds no slot any more."""
        if ticket.state is not State.GRANTED:
            return False
        ticket.state = State.DONE
        self._learn(outcome, rtt, now)
        self._in_flight -= 1
        self._grant(now)
        return True

    def wake(self, now: float) -> None:
        """Grants what has become due."""
        self._grant(now)

    def _learn(self, outcome: Outcome, rtt: float, now: float) -> None:
        if outcome is Outcome.ANSWERED:
            self._rate.completed(now, busy=bool(self._room) or self._in_flight >= self._limit.value)
            self._limit.record(rtt, self._in_flight, now)
        elif outcome is Outcome.FULL:
            self._limit.record_full(self._in_flight, now)
        elif outcome is Outcome.LATE:
            self._limit.record_late(rtt, self._in_flight, now)

    def _grant(self, now: float) -> None:
        while self._room and (ticket := self._room.first(lambda priority: self._open_to(priority, now))):
            if self._too_late(ticket, now):
                self._room.remove(ticket)
                self._settle(ticket, State.EXPIRED)
                continue
            self._room.take(ticket)
            self._pace.spend(now, self._limit.value, min(self._limit.slow, _RESERVE * self._limit.mean))
            self._in_flight += 1
            ticket.granted = now
            self._settle(ticket, State.GRANTED)

    def _open_to(self, priority: Priority, now: float) -> bool:
        """The most urgent class goes whenever a slot is free, the others at the pace of the server.

        While urgent ones wait, slots are handed out as they come, so that each class gets its share.
        """
        limit = self._limit.value
        if self._in_flight >= limit:
            return False
        if priority is Priority.INTERACTIVE or self._room.waiting(Priority.INTERACTIVE):
            return True
        return self._in_flight < _UNPACED * limit or now >= self._pace.due

    def _too_late(self, ticket: Ticket, now: float) -> bool:
        """A call that is likely to end after its deadline would only take a slot from one that is not."""
        return self._in_flight > 0 and ticket.entered < now and now + self._limit.slow > ticket.expires

    @staticmethod
    def _settle(ticket: Ticket, state: State) -> None:
        ticket.state = state
        ticket.settled(ticket)


def _no_room(wait: float) -> Overloaded:
    return Overloaded(
        "More requests wait for this model than it can answer.", retry_after=wait or _UNKNOWN_WAIT
    )
