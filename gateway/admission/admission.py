"""Admission under asyncio: permits to call, one gate a replica.

`check` comes before the image is decoded and `acquire` before the call. A permit belongs to the call and not to the
caller: a client that leaves does not free a slot that its call still takes.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from types import TracebackType
from typing import Any, Generic, TypeVar

from gateway.admission.gate import Gate, GatePolicy, Load, Outcome
from gateway.admission.room import State, Ticket
from gateway.domain import Deadline, Priority
from gateway.errors import DeadlineExceeded, UpstreamOverloaded

Lane = TypeVar("Lane", bound=Hashable)


def outcome_of(error: BaseException | None) -> Outcome:
    """What a call that ended this way tells about load."""
    if error is None:
        return Outcome.ANSWERED
    if isinstance(error, UpstreamOverloaded):
        return Outcome.FULL
    return Outcome.LATE if isinstance(error, DeadlineExceeded) else Outcome.UNKNOWN


class Permit:
    """The right to one call; it is given back once, whoever does it and however often."""

    def __init__(self, line: "_Line", ticket: Ticket) -> None:
        self._line = line
        self._ticket = ticket
        self._followed = False

    @property
    def followed(self) -> bool:
        """Whether the end of a call gives the permit back."""
        return self._followed

    @property
    def typical(self) -> float:
        """The median latency of its lane's calls in seconds; 0 until it is known."""
        return self._line.gate.typical

    def release(self, outcome: Outcome, rtt: float | None = None) -> bool:
        """Gives the slot to the next. `rtt` in seconds; without it, the time since the permit was granted.

        False where it was given back before.
        """
        return self._line.release(self._ticket, outcome, rtt)

    def follow(self, call: "asyncio.Future[Any]", rtt: Callable[[], float | None] = lambda: None) -> None:
        """Leaves the release to the end of `call`, also where nobody waits for it any more.

        The call has to raise the gateway's own errors, as they say what the call tells about load. `rtt` is asked then,
        and says its latency where that is not how long it took.
        """
        self._followed = True
        self._line.calls.add(call)
        call.add_done_callback(lambda _: self._ended(call, rtt()))

    def _ended(self, call: "asyncio.Future[Any]", rtt: float | None) -> None:
        self._line.calls.discard(call)
        self.release(Outcome.UNKNOWN if call.cancelled() else outcome_of(call.exception()), rtt)


class Admission(Generic[Lane]):
    """`policy_for` is asked once a lane; a lane is what has a queue of its own in Triton: a version as it is loaded.

    Of lanes for which `place_of` says the same the next one takes the place of those before, once they have no calls.
    """

    def __init__(
        self,
        policy_for: Callable[[Lane], GatePolicy],
        *,
        clock: Callable[[], float],
        place_of: Callable[[Lane], Hashable] = lambda lane: lane,
    ) -> None:
        self._policy_for = policy_for
        self._clock = clock
        self._place_of = place_of
        self._latest: dict[Hashable, Lane] = {}
        self._lines: dict[Lane, _Line] = {}

    def check(self, lane: Lane, priority: Priority, deadline: Deadline) -> None:
        """Raises Overloaded or DeadlineExceeded where `acquire` would do so now; reserves nothing."""
        self._line(lane).gate.check(priority, deadline.at, self._clock())

    def is_open(self, lane: Lane, priority: Priority) -> bool:
        """Whether a call would go at once, with nobody waiting."""
        return self._line(lane).gate.is_open(priority, self._clock())

    async def acquire(
        self, lane: Lane, priority: Priority, deadline: Deadline, *, wait: bool = True
    ) -> Permit:
        """A permit, as soon as it is this request's turn; without `wait`, at once or not at all.

        Raises Overloaded at once, or later where a more urgent request took the place, and DeadlineExceeded. Whoever
        is cancelled while waiting leaves nothing behind.
        """
        line = self._line(lane)
        ticket = await line.ticket(priority, deadline) if wait else line.ticket_at_once(priority, deadline)
        return Permit(line, ticket)

    def slot(self, lane: Lane, priority: Priority, deadline: Deadline, *, wait: bool = True) -> "Slot":
        """`async with admission.slot(…) as permit:` acquires one for the block; a permit that follows a call outlives
        the block until the call ends.
        """
        return Slot(self.acquire(lane, priority, deadline, wait=wait))

    def load(self) -> Mapping[Lane, Load]:
        """Every lane that was used so far; one that another took the place of is forgotten after its last call."""
        self._lines = {
            lane: line
            for lane, line in self._lines.items()
            if self._latest[self._place_of(lane)] == lane or not line.gate.is_idle
        }
        return {lane: line.gate.load for lane, line in self._lines.items()}

    def _line(self, lane: Lane) -> "_Line":
        line = self._lines.get(lane)
        if line is None:
            line = self._lines[lane] = _Line(Gate(self._policy_for(lane)), self._clock)
            self._latest[self._place_of(lane)] = lane
        return line


class Slot:
    """A permit for the length of a block. A class, and not a generator: every call to Triton enters one."""

    __slots__ = ("_acquired", "_permit")

    def __init__(self, acquired: Coroutine[Any, Any, Permit]) -> None:
        self._acquired = acquired
        self._permit: Permit

    async def __aenter__(self) -> Permit:
        self._permit = await self._acquired
        return self._permit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._permit.followed:
            self._permit.release(outcome_of(error))


class _Line:
    """A gate with a clock, and with a timer where the gate waits for one."""

    def __init__(self, gate: Gate, clock: Callable[[], float]) -> None:
        self.gate = gate
        self.calls: set[asyncio.Future[Any]] = set()  # the event loop itself holds on to them weakly
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    async def ticket(self, priority: Priority, deadline: Deadline) -> Ticket:
        settled = asyncio.Event()
        now = self._clock()
        ticket = self.gate.enter(priority, deadline.at, now, lambda _: settled.set())
        if ticket.state is State.WAITING:
            self._arm()
            try:
                async with asyncio.timeout(deadline.remaining(now)):
                    await settled.wait()
            except BaseException as error:
                # The grant may have come in the same turn of the loop; leaving hands it on.
                self.gate.leave(ticket, self._clock())
                self._arm()
                if isinstance(error, TimeoutError):
                    raise self._late() from None
                raise
        return self._granted(ticket)

    def ticket_at_once(self, priority: Priority, deadline: Deadline) -> Ticket:
        now = self._clock()
        ticket = self.gate.enter_at_once(priority, deadline.at, now)
        if ticket is None:
            raise self.gate.shed(priority, now)
        return ticket

    def release(self, ticket: Ticket, outcome: Outcome, rtt: float | None) -> bool:
        now = self._clock()
        released = self.gate.release(ticket, outcome, now - ticket.granted if rtt is None else rtt, now)
        self._arm()
        return released

    def _granted(self, ticket: Ticket) -> Ticket:
        if ticket.state is State.SHED:
            raise self.gate.shed(ticket.priority, self._clock())
        if ticket.state is State.EXPIRED:
            raise self._late()
        return ticket

    def _arm(self) -> None:
        due = self.gate.due
        if due is not None and self._timer is None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.gate.wake(self._clock())
        self._arm()

    @staticmethod
    def _late() -> DeadlineExceeded:
        return DeadlineExceeded("The request ran out of time while it waited for the model.")
