"""One replica's admission, step by step on a clock that only the test moves."""

from itertools import pairwise

import pytest

from gateway.admission.gate import Gate, GatePolicy, Outcome
from gateway.admission.limit import LimitPolicy
from gateway.admission.room import State, Ticket
from gateway.domain import Priority
from gateway.errors import DeadlineExceeded, Overloaded

INTERACTIVE, STANDARD, BATCH = Priority


class Bench:
    def __init__(self, slots: int = 4, places: int = 10, patience: float = 0.5) -> None:
        limit = LimitPolicy(target=0.4, lowest=1, start=slots, highest=slots)
        self.gate = Gate(GatePolicy(limit, places, patience))
        self.now = 1000.0
        self.settled: list[Ticket] = []

    def enter(self, priority: Priority = INTERACTIVE, seconds: float = 10.0) -> Ticket:
        return self.gate.enter(priority, self.now + seconds, self.now, self.settled.append)

    def enter_at_once(self, priority: Priority, seconds: float = 10.0) -> Ticket | None:
        return self.gate.enter_at_once(priority, self.now + seconds, self.now)

    def check(self, priority: Priority = INTERACTIVE, seconds: float = 10.0) -> None:
        self.gate.check(priority, self.now + seconds, self.now)

    def release(self, ticket: Ticket, rtt: float = 0.1, outcome: Outcome = Outcome.ANSWERED) -> bool:
        return self.gate.release(ticket, outcome, rtt, self.now)

    def serve(self, rate: float, seconds: float = 1.0) -> None:
        """Keeps the gate busy with urgent calls that end at this rate."""
        running = [self.enter() for _ in range(self.gate.load.limit)]
        for _ in range(int(rate * seconds)):
            running.append(self.enter())
            self.now += 1 / rate
            self.release(running.pop(0))
        for ticket in running:
            self.release(ticket)


def test_up_to_the_limit_tickets_are_granted_and_then_they_wait() -> None:
    bench = Bench(slots=4)
    tickets = [bench.enter() for _ in range(6)]
    assert [ticket.state for ticket in tickets] == [State.GRANTED] * 4 + [State.WAITING] * 2
    assert (bench.gate.load.in_flight, bench.gate.load.waiting[INTERACTIVE]) == (4, 2)


def test_a_slot_that_comes_free_goes_to_the_next() -> None:
    bench = Bench(slots=1)
    first, second = bench.enter(), bench.enter()
    assert bench.release(first)
    assert second.state is State.GRANTED
    assert bench.settled == [first, second]


def test_a_ticket_is_released_once() -> None:
    bench = Bench(slots=1)
    ticket = bench.enter()
    assert bench.release(ticket)
    assert not bench.release(ticket)
    assert bench.gate.load.in_flight == 0


def test_one_that_leaves_the_line_frees_its_place() -> None:
    bench = Bench(slots=1)
    holder, leaving, last = bench.enter(), bench.enter(), bench.enter()
    bench.gate.leave(leaving, bench.now)
    bench.release(holder)
    assert (leaving.state, last.state) == (State.LEFT, State.GRANTED)


def test_one_that_leaves_with_a_slot_hands_it_on() -> None:
    bench = Bench(slots=1)
    holder, leaving, last = bench.enter(), bench.enter(), bench.enter()
    bench.release(holder)
    assert leaving.state is State.GRANTED
    bench.gate.leave(leaving, bench.now)
    assert last.state is State.GRANTED
    assert bench.gate.load.in_flight == 1


def test_a_full_room_refuses_with_the_time_that_the_line_takes() -> None:
    bench = Bench(slots=4, places=10)
    bench.serve(rate=20)
    for _ in range(4 + 10):
        bench.enter()
    with pytest.raises(Overloaded) as caught:
        bench.check()
    assert caught.value.retry_after == pytest.approx(11 / 20, rel=0.1)
    with pytest.raises(Overloaded):
        bench.enter()


def test_before_the_rate_is_known_a_full_room_refuses_for_a_second() -> None:
    bench = Bench(slots=1, places=3)
    for _ in range(4):
        bench.enter()
    with pytest.raises(Overloaded) as caught:
        bench.enter()
    assert caught.value.retry_after == 1.0


def test_in_a_full_room_the_newest_of_the_lowest_class_gives_way() -> None:
    bench = Bench(slots=1, places=3)
    bench.enter()
    low = [bench.enter(BATCH) for _ in range(3)]
    bench.check(INTERACTIVE)
    bench.enter(INTERACTIVE)
    assert [ticket.state for ticket in low] == [State.WAITING, State.WAITING, State.SHED]
    assert bench.settled[-1] is low[2]
    with pytest.raises(Overloaded):
        bench.check(BATCH)


def test_a_wait_longer_than_the_time_left_is_refused_at_once() -> None:
    bench = Bench(slots=4)
    bench.serve(rate=20)
    for _ in range(4 + 8):
        bench.enter(seconds=60)
    with pytest.raises(DeadlineExceeded) as caught:
        bench.check(seconds=0.4)
    assert caught.value.retry_after == pytest.approx(9 / 20, rel=0.1)
    bench.check(seconds=2.0)


def test_a_wait_that_takes_too_much_of_the_time_left_is_overload() -> None:
    bench = Bench(slots=4, patience=0.5)
    bench.serve(rate=20)
    for _ in range(4 + 8):
        bench.enter(seconds=60)
    with pytest.raises(Overloaded):
        bench.check(seconds=0.8)


def test_a_call_that_usually_takes_longer_than_the_time_left_is_refused() -> None:
    bench = Bench(slots=4)
    bench.serve(rate=20)
    holder = bench.enter()
    with pytest.raises(DeadlineExceeded):
        bench.check(seconds=0.09)
    bench.check(seconds=0.11)
    bench.release(holder)
    bench.check(
        seconds=0.09
    )  # a replica with nothing to do is asked again, or nobody would learn that it is fast


def test_a_deadline_that_has_passed_is_refused_by_an_idle_replica_too() -> None:
    with pytest.raises(DeadlineExceeded):
        Bench().check(seconds=0)


def test_one_whose_time_ran_out_in_the_line_is_dropped_and_the_next_goes() -> None:
    bench = Bench(slots=2)
    bench.serve(rate=20)
    holder, _ = bench.enter(), bench.enter()
    hurried, patient = bench.enter(seconds=0.5), bench.enter(seconds=60)
    bench.now += 0.45
    bench.release(holder)
    assert (hurried.state, patient.state) == (State.EXPIRED, State.GRANTED)


def test_low_classes_fill_half_of_the_limit_at_once_and_the_rest_at_the_pace_of_the_server() -> None:
    bench = Bench(slots=8)
    bench.serve(rate=80)  # 0.1 s each: a full limit is 80 calls a second
    bench.now += 1
    low = [bench.enter(BATCH) for _ in range(8)]

    def granted() -> int:
        return sum(ticket.state is State.GRANTED for ticket in low)

    assert granted() == 4
    due = []
    while bench.gate.due is not None:
        bench.now = bench.gate.due
        due.append(bench.now)
        bench.gate.wake(bench.now)
        assert granted() == 4 + len(due)
    assert granted() == 8
    assert [b - a for a, b in pairwise(due)] == pytest.approx([0.1 / 8] * 3)


def test_the_most_urgent_class_does_not_wait_for_the_pace() -> None:
    bench = Bench(slots=8)
    bench.serve(rate=80)
    low = [bench.enter(BATCH) for _ in range(8)]
    assert State.WAITING in {ticket.state for ticket in low}
    assert bench.enter(INTERACTIVE).state is State.GRANTED


def test_nobody_is_woken_where_nobody_waits() -> None:
    bench = Bench()
    bench.enter()
    assert bench.gate.due is None


def test_who_would_not_wait_enters_as_long_as_slots_are_free() -> None:
    bench = Bench(slots=2)
    tickets = [bench.enter_at_once(INTERACTIVE) for _ in range(3)]
    assert [ticket and ticket.state for ticket in tickets] == [State.GRANTED, State.GRANTED, None]
    assert (bench.gate.load.in_flight, sum(bench.gate.load.waiting.values())) == (2, 0)


def test_who_would_not_wait_never_goes_before_those_who_do() -> None:
    bench = Bench(slots=8)
    bench.serve(rate=80)
    low = [bench.enter(BATCH) for _ in range(5)]
    assert [ticket.state for ticket in low] == [State.GRANTED] * 4 + [State.WAITING]
    assert not bench.gate.is_open(INTERACTIVE, bench.now)
    assert bench.enter_at_once(INTERACTIVE) is None
    bench.gate.leave(low[-1], bench.now)
    assert bench.enter_at_once(INTERACTIVE) is not None


def test_who_would_not_wait_keeps_to_the_pace_of_its_class() -> None:
    bench = Bench(slots=8)
    bench.serve(rate=80)
    for _ in range(4):
        assert bench.gate.is_open(BATCH, bench.now)
        assert bench.enter_at_once(BATCH) is not None
    assert bench.enter_at_once(BATCH) is None
    bench.now += 0.1
    assert bench.enter_at_once(BATCH) is not None


def test_who_would_not_wait_is_refused_what_would_come_too_late() -> None:
    bench = Bench(slots=4)
    bench.serve(rate=20)
    bench.enter()
    with pytest.raises(DeadlineExceeded):
        bench.enter_at_once(INTERACTIVE, seconds=0.09)


@pytest.mark.parametrize(
    ("outcome", "rtt", "expected"),
    [
        (Outcome.ANSWERED, 0.1, 4),
        (Outcome.ANSWERED, 0.8, 2),
        (Outcome.FULL, 0.001, 2),
        (Outcome.LATE, 0.5, 2),
        (Outcome.LATE, 0.1, 4),
        (Outcome.UNKNOWN, 9.0, 4),
    ],
    ids=[
        "fast answers leave it",
        "slow answers cut it",
        "a full queue cuts it, however fast it says so",
        "calls that ran out of enough time cut it",
        "calls that had little time leave it",
        "other failures leave it",
    ],
)
def test_what_the_end_of_calls_does_to_the_limit(outcome: Outcome, rtt: float, expected: int) -> None:
    bench = Bench(slots=4)
    for _ in range(3):
        ticket = bench.enter()
        bench.now += 0.06
        bench.release(ticket, rtt, outcome)
    assert bench.gate.load.limit == expected


def test_the_service_rate_counts_busy_time_only() -> None:
    bench = Bench(slots=2)
    for _ in range(20):
        ticket = bench.enter()
        bench.now += 0.5
        bench.release(ticket)
    assert bench.gate.load.rate is None
    bench.serve(rate=50)
    assert bench.gate.load.rate == pytest.approx(50, rel=0.05)
