"""Takes a version on a replica out of service while it fails, and tries it again before it comes back.

One breaker an endpoint, model and version, and a set of them a worker. Readiness alone cannot be trusted: a version
whose backend process died still says that it is ready.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gateway.domain import ModelVersion, Variant
from gateway.errors import (
    BackendDied,
    CallCancelled,
    ConnectionFailed,
    DeadlineExceeded,
    GatewayError,
    GatewayMisconfigured,
    ModelDeclines,
    ModelUnavailable,
    OutOfService,
    QueueTimeout,
    UpstreamContractViolation,
    UpstreamDraining,
    UpstreamFailed,
    UpstreamInvalidResponse,
    UpstreamOverloaded,
    UpstreamUnavailable,
)
from gateway.value import value

_BUCKETS = 10  # of one second each
_IN_A_ROW = 5
_ENOUGH = 20  # calls in the buckets before their share of failures means anything
_SHARE = 0.5
_SHORTEST, _LONGEST, _SPREAD = 0.5, 10.0, (0.8, 1.2)  # seconds out of service, and the jitter on them
_ABSENT_LONGEST = 1.0  # for who is away: asking costs it nothing, and its return has to be noticed
_MOST_EJECTIONS = 6  # from which on it is out of service for the longest; an outage may have thousands
_FORGIVEN_AFTER = 10.0  # seconds in service that take one ejection off the count
_PROBES = 2  # that must succeed
_PROBE_LOST_AFTER = 30.0  # seconds, after which another one need not wait for its end


class Verdict(Enum):
    """What the end of a call says about the version on its replica."""

    SUCCESS = auto()
    FAILURE = auto()
    NEUTRAL = auto()
    EJECT = auto()  # certain enough to act on alone


class Retry(Enum):
    """Where the same request may be tried again."""

    NEVER = auto()
    ANYWHERE = auto()
    ELSEWHERE = auto()  # another replica, or another version where the caller did not pin this one


@dataclass(frozen=True, slots=True)
class Judgement:
    """`gone`: nobody can be served there, so even the last replica of the stable version may be ejected for it.

    `longest` bounds the seconds out of service.
    """

    verdict: Verdict
    retry: Retry = Retry.NEVER
    gone: bool = False
    longest: float = _LONGEST


_SUCCESS = Judgement(Verdict.SUCCESS)
_FAILURE = Judgement(Verdict.FAILURE)
_NEUTRAL = Judgement(Verdict.NEUTRAL)

# A subclass without a row of its own counts as its parent.
JUDGEMENTS: Mapping[type[GatewayError], Judgement] = {
    GatewayError: _NEUTRAL,  # the caller's fault, or our own capacity
    DeadlineExceeded: _FAILURE,
    QueueTimeout: _NEUTRAL,
    UpstreamUnavailable: _FAILURE,
    ConnectionFailed: Judgement(Verdict.FAILURE, Retry.ANYWHERE, gone=True, longest=_ABSENT_LONGEST),
    CallCancelled: _NEUTRAL,
    OutOfService: _NEUTRAL,  # nothing was called
    UpstreamOverloaded: _NEUTRAL,  # trying again makes it worse; the limit on calls in flight reacts
    UpstreamDraining: Judgement(Verdict.EJECT, Retry.ELSEWHERE, gone=True, longest=_ABSENT_LONGEST),
    ModelUnavailable: Judgement(Verdict.FAILURE, Retry.ELSEWHERE, gone=True, longest=_ABSENT_LONGEST),
    ModelDeclines: _FAILURE,  # as UpstreamFailed: it may be this input
    BackendDied: Judgement(Verdict.EJECT, Retry.ELSEWHERE, gone=True),
    UpstreamFailed: _FAILURE,  # not tried again: it may be this input
    UpstreamContractViolation: _NEUTRAL,
    UpstreamInvalidResponse: _FAILURE,
    GatewayMisconfigured: _NEUTRAL,
}


def judge(error: BaseException | None, *, ample: bool = True) -> Judgement:
    """The judgement on a call that ended with `error`, or well.

    `ample` says whether the call had at least half of the default deadline: with less, running out of time says
    nothing about the replica.
    """
    if error is None:
        return _SUCCESS
    if isinstance(error, DeadlineExceeded) and not ample:
        return _NEUTRAL
    return next((JUDGEMENTS[kind] for kind in type(error).__mro__ if kind in JUDGEMENTS), _NEUTRAL)


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@value
class Attempt:
    """A call that the breaker let through; its end has to be recorded."""

    era: int
    number: int


class Breaker:
    """`uniform` draws from a range, as `random.uniform` does. `changed` is told of every new state."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        uniform: Callable[[float, float], float],
        changed: Callable[[State], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self._changed = changed
        self._state = State.CLOSED
        self._era = 0  # a call is judged only in the era in which it began
        self._number = 0
        self._window = _Window()
        self._ejections = 0
        self._since = clock()
        self._until = 0.0
        self._probe: tuple[Attempt, float] | None = None
        self._probes_passed = 0

    @property
    def state(self) -> State:
        if self._state is State.OPEN and self._clock() >= self._until:
            self._become(State.HALF_OPEN)
        return self._state

    @property
    def retry_after(self) -> float:
        """Seconds until the next try; 0 where calls pass."""
        return max(0.0, self._until - self._clock()) if self.state is State.OPEN else 0.0

    def allows(self) -> bool:
        """Whether `admit` would let a call through now."""
        if self.state is State.HALF_OPEN:
            return self._probe is None or self._clock() - self._probe[1] >= _PROBE_LOST_AFTER
        return self._state is State.CLOSED

    def admit(self) -> Attempt | None:
        """A call that may be made, or None. While half open it is a probe, and one runs at a time."""
        if not self.allows():
            return None
        self._number += 1
        attempt = Attempt(self._era, self._number)
        if self._state is State.HALF_OPEN:
            self._probe = attempt, self._clock()
        return attempt

    def record(self, attempt: Attempt, judgement: Judgement, *, last: bool = False) -> None:
        """The end of a call. `last`: no other replica serves the stable version, so only `gone` ejects this one."""
        if attempt.era != self._era:
            return
        spared = last and not judgement.gone
        if self.state is State.HALF_OPEN:
            self._record_probe(attempt, judgement, spared=spared)
        elif self._state is State.CLOSED and not (spared and judgement.verdict is not Verdict.SUCCESS):
            now = self._clock()
            self._window.add(judgement.verdict, now)
            failed = judgement.verdict is Verdict.FAILURE and self._window.is_bad(now)
            if failed or judgement.verdict is Verdict.EJECT:
                self._eject(judgement)

    def answered(self, attempt: Attempt) -> None:
        """One answer of a call that may have more. The first decides a probe, for whose end others would wait."""
        if attempt.era == self._era and self.state is State.HALF_OPEN:
            self._record_probe(attempt, _SUCCESS, spared=False)

    def _record_probe(self, attempt: Attempt, judgement: Judgement, *, spared: bool) -> None:
        if self._probe is None or self._probe[0] != attempt:
            return
        self._probe = None
        if judgement.verdict is Verdict.NEUTRAL:
            return
        if judgement.verdict is not Verdict.SUCCESS and not spared:
            self._eject(judgement)
            return
        self._probes_passed += 1
        if self._probes_passed == _PROBES:
            self._window = _Window()
            self._since = self._clock()
            self._become(State.CLOSED)

    def _eject(self, judgement: Judgement) -> None:
        now = self._clock()
        if self._state is State.CLOSED:
            self._ejections = max(0, self._ejections - int((now - self._since) / _FORGIVEN_AFTER))
        self._ejections = min(self._ejections + 1, _MOST_EJECTIONS)
        seconds = min(judgement.longest, _SHORTEST * 2.0 ** (self._ejections - 1))
        self._until = now + seconds * self._uniform(*_SPREAD)
        self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._probe = None
        self._probes_passed = 0
        self._changed(state)


class _Window:
    """Failures in a row, and their share over the last seconds."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[int, int, int]] = deque(maxlen=_BUCKETS)  # second, calls, failures
        self._row = 0

    def add(self, verdict: Verdict, now: float) -> None:
        if verdict is Verdict.NEUTRAL:
            return
        failed = verdict is not Verdict.SUCCESS
        self._row = self._row + 1 if failed else 0
        second = int(now)
        calls, failures = 0, 0
        if self._buckets and self._buckets[-1][0] == second:
            _, calls, failures = self._buckets.pop()
        self._buckets.append((second, calls + 1, failures + failed))

    def is_bad(self, now: float) -> bool:
        recent = [
            (calls, failures) for second, calls, failures in self._buckets if second > int(now) - _BUCKETS
        ]
        calls = sum(count for count, _ in recent)
        failures = sum(count for _, count in recent)
        return self._row >= _IN_A_ROW or (calls >= _ENOUGH and failures >= _SHARE * calls)


class Breakers:
    """One breaker for each version on each endpoint, made when it is first asked for."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        uniform: Callable[[float, float], float],
        changed: Callable[[str, str, str, State], None] = lambda *_: None,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self._changed = changed
        self._breakers: dict[tuple[str, str, str], Breaker] = {}

    def of(self, endpoint: str, target: ModelVersion) -> Breaker:
        key = (endpoint, target.model, target.version)
        if key not in self._breakers:
            self._breakers[key] = Breaker(
                clock=self._clock,
                uniform=self._uniform,
                changed=lambda state: self._changed(*key, state),
            )
        return self._breakers[key]

    def forget(self, endpoint: str) -> None:
        """An endpoint that is there no longer."""
        for key in [key for key in self._breakers if key[0] == endpoint]:
            del self._breakers[key]

    def renew(self, endpoint: str, model: str) -> None:
        """A model that was loaded there: what failed before says nothing of it."""
        for key, breaker in list(self._breakers.items()):
            if key[:2] == (endpoint, model):
                del self._breakers[key]
                self.of(endpoint, ModelVersion(model, key[2], Variant.STABLE))
                if breaker.state is not State.CLOSED:
                    self._changed(*key, State.CLOSED)

    def states(self) -> Mapping[tuple[str, str, str], State]:
        """Endpoint, model and version of each breaker, and its state."""
        return {key: breaker.state for key, breaker in self._breakers.items()}
