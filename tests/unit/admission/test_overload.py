"""Admission in front of a simulated batching server, in virtual time: what stays good while too much is asked for.

The server runs one batch at a time, of up to 8, in 20 ms and 2 ms an item: 222 calls a second at most. It takes its
queue in the order of arrival, as Triton does without priority levels. Arrivals are an open loop, and every run is
seeded, so these figures repeat exactly.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import pytest

from gateway.admission.gate import Gate, GatePolicy, Outcome
from gateway.admission.limit import LimitPolicy
from gateway.admission.room import State, Ticket
from gateway.domain import Priority
from gateway.errors import DeadlineExceeded, Overloaded

BATCH = 8
CAPACITY = BATCH / 0.036  # calls a second
WARM_UP = 2.0  # seconds that are not counted
INTERACTIVE, STANDARD, LOW = Priority
MIX = ((INTERACTIVE, 0.2), (STANDARD, 0.5), (LOW, 0.3))
POLICY = GatePolicy(LimitPolicy(target=0.12, start=2 * BATCH, highest=2 * BATCH))


@dataclass
class Request:
    priority: Priority
    arrived: float
    expires: float
    ticket: Ticket | None = None
    sent: float = 0.0
    ended: float = 0.0
    answered: bool = False
    refusal: type[Exception] | None = None

    @property
    def latency(self) -> float:
        return self.ended - self.arrived


@dataclass
class Simulation:
    """`slowness(now)` multiplies the server's time; `hop` is the network's, in seconds one way, give or take half."""

    policy: GatePolicy = POLICY
    seed: int = 1
    slowness: Callable[[float], float] = lambda _: 1.0
    hop: float = 0.0005
    now: float = 0.0
    requests: list[Request] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._gate = Gate(self.policy)
        self._random = random.Random(self.seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._queue: deque[Request] = deque()
        self._running = False
        self._armed: float | None = None

    def offer(self, priority: Priority, rate: float, until: float, deadline: float) -> None:
        """Poisson arrivals of one class."""
        at = 0.0
        while (at := at + self._random.expovariate(rate)) < until:
            request = Request(priority, at, at + deadline)
            self.requests.append(request)
            self._at(at, lambda request=request: self._arrive(request))  # type: ignore[misc]

    def run(self) -> "Simulation":
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
            if self.now >= len(self.limits) * 0.1:
                self.limits.append((self.now, self._gate.load.limit))
            due = self._gate.due
            if due is not None and due != self._armed:
                self._armed = due
                self._at(max(due, self.now), self._wake)
        return self

    def _at(self, time: float, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, event))

    def _wake(self) -> None:
        self._gate.wake(self.now)

    def _arrive(self, request: Request) -> None:
        try:
            request.ticket = self._gate.enter(
                request.priority, request.expires, self.now, lambda ticket: self._settled(request, ticket)
            )
        except (Overloaded, DeadlineExceeded) as error:
            self._refuse(request, type(error))
            return
        self._at(request.expires, lambda: self._give_up(request))

    def _settled(self, request: Request, ticket: Ticket) -> None:
        request.ticket = ticket
        if ticket.state is State.GRANTED:
            request.sent = self.now
            self._at(self.now + self._travel(), lambda: self._reach(request))
        else:
            self._refuse(request, Overloaded if ticket.state is State.SHED else DeadlineExceeded)

    def _give_up(self, request: Request) -> None:
        if request.ticket is not None and request.ticket.state is State.WAITING:
            self._gate.leave(request.ticket, self.now)
            self._refuse(request, DeadlineExceeded)

    def _refuse(self, request: Request, why: type[Exception]) -> None:
        request.refusal, request.ended = why, self.now

    def _travel(self) -> float:
        return self.hop * self._random.uniform(0.5, 1.5)

    def _reach(self, request: Request) -> None:
        self._queue.append(request)
        if not self._running:
            self._start()

    def _start(self) -> None:
        items = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        self._running = bool(items)
        if items:
            time = (0.02 + 0.002 * len(items)) * self.slowness(self.now)
            self._at(self.now + time, lambda: self._finish(items))

    def _finish(self, items: Sequence[Request]) -> None:
        for request in items:
            self._at(self.now + self._travel(), lambda request=request: self._done(request))  # type: ignore[misc]
        self._start()

    def _done(self, request: Request) -> None:
        assert request.ticket is not None
        request.ended = self.now
        request.answered = self.now <= request.expires
        outcome = Outcome.ANSWERED if request.answered else Outcome.LATE
        assert self._gate.release(request.ticket, outcome, self.now - request.sent, self.now)

    def counted(self, priority: Priority | None = None) -> list[Request]:
        return [r for r in self.requests if r.arrived >= WARM_UP and priority in (None, r.priority)]

    def share_answered(self, priority: Priority) -> float:
        counted = self.counted(priority)
        return sum(r.answered for r in counted) / len(counted)

    def goodput(self, until: float) -> float:
        """Answers in time, a second."""
        return sum(r.answered for r in self.counted()) / (until - WARM_UP)

    def p99(self, priority: Priority) -> float:
        answered = sorted(r.latency for r in self.counted(priority) if r.answered)
        return answered[int(0.99 * len(answered))]


@cache
def overload(
    factor: float, *, deadline: float = 0.3, seconds: float = 20.0, policy: GatePolicy = POLICY
) -> Simulation:
    simulation = Simulation(policy)
    for priority, share in MIX:
        simulation.offer(priority, CAPACITY * factor * share, seconds, deadline)
    return simulation.run()


def test_at_twice_the_capacity_urgent_requests_are_answered_and_batch_goes_first() -> None:
    simulation = overload(2)
    shares = [simulation.share_answered(priority) for priority in Priority]
    assert shares[0] >= 0.99
    assert shares[0] > shares[1] > shares[2] > 0


def test_no_second_answers_a_lower_class_better_than_a_higher_one() -> None:
    simulation = overload(2)
    for second in range(2, 19):
        arrived = [r for r in simulation.requests if second <= r.arrived < second + 1]
        urgent = [r.answered for r in arrived if r.priority is INTERACTIVE]
        assert len(urgent) > 20
        for lower in (STANDARD, LOW):
            others = [r.answered for r in arrived if r.priority is lower]
            assert sum(urgent) / len(urgent) >= sum(others) / len(others)


@pytest.mark.parametrize("factor", [2, 5])
@pytest.mark.parametrize("deadline", [0.3, 1.0], ids=lambda seconds: f"deadline {seconds} s")
def test_overload_costs_no_goodput(factor: float, deadline: float) -> None:
    simulation = overload(factor, deadline=deadline)
    assert simulation.goodput(20) >= 0.9 * CAPACITY


@pytest.mark.parametrize("factor", [2, 5])
def test_what_is_refused_is_refused_at_once(factor: float) -> None:
    refused = [r for r in overload(factor).counted() if r.refusal]
    assert sum(r.latency < 0.02 for r in refused) >= 0.95 * len(refused)


def test_an_admitted_call_is_hardly_ever_answered_too_late() -> None:
    late = [r for r in overload(2).counted() if r.sent and not r.answered]
    assert len(late) <= 0.001 * len(overload(2).counted())


@pytest.mark.parametrize("share", [0.3, 0.5], ids=lambda share: f"interactive at {share} of the capacity")
def test_an_interactive_request_hardly_notices_three_times_the_capacity_of_batch(share: float) -> None:
    def run(batch: float) -> Simulation:
        simulation = Simulation(seed=5)
        simulation.offer(INTERACTIVE, CAPACITY * share, 40, 1.0)
        if batch:
            simulation.offer(LOW, CAPACITY * batch, 40, 1.0)
        return simulation.run()

    alone, crowded = run(0), run(3)
    assert crowded.share_answered(INTERACTIVE) == 1.0
    assert crowded.p99(INTERACTIVE) <= 1.5 * alone.p99(INTERACTIVE)
    assert crowded.goodput(40) >= 0.98 * CAPACITY


def test_under_five_times_the_capacity_no_class_starves() -> None:
    simulation = overload(5, deadline=2.0)
    answered = [sum(r.answered for r in simulation.counted(priority)) for priority in Priority]
    assert answered[1] >= 0.9 * 4 / 21 * sum(answered)
    assert answered[2] >= 0.9 * 1 / 21 * sum(answered)


def slow_between(start: float, end: float) -> Callable[[float], float]:
    return lambda now: 4.0 if start <= now < end else 1.0


@pytest.mark.parametrize("highest", [16, 64], ids=lambda highest: f"at most {highest} in flight")
def test_the_limit_falls_while_the_model_is_slow_and_is_back_within_15_seconds(highest: int) -> None:
    policy = GatePolicy(LimitPolicy(target=0.12, start=16, highest=highest))
    simulation = Simulation(policy, slowness=slow_between(20, 40))
    for priority, share in MIX:
        simulation.offer(priority, CAPACITY * 2 * share, 60, 0.3)
    simulation.run()

    def mean(start: float, end: float) -> float:
        values = [limit for at, limit in simulation.limits if start <= at < end]
        return sum(values) / len(values)

    before = mean(10, 20)
    assert mean(30, 40) < 0.5 * before
    assert any(limit >= 0.8 * before for at, limit in simulation.limits if 40 <= at < 55)
    assert mean(55, 60) >= 0.8 * before
    answered = sum(r.answered for r in simulation.requests if 45 <= r.arrived < 60)
    assert answered / 15 >= 0.9 * CAPACITY
