"""Which Triton a call goes to: of two that are drawn, the one with fewer calls under way, behind its breaker.

Two choices are enough to keep the longest queue short (Mitzenmacher, "The Power of Two Choices in Randomized Load
Balancing", 2001), and unlike the least loaded of all they do not send every gateway to the same one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.domain import ModelVersion, Variant
from gateway.errors import ConnectionFailed, GatewayError, OutOfService
from gateway.upstream.breaker import Attempt, Breaker, Breakers, Judgement, State
from gateway.upstream.replicas import Replica, Replicas


class Admitted(NamedTuple):
    """A call that may be made, to this replica; its end has to be recorded."""

    replica: Replica
    breaker: Breaker
    attempt: Attempt


class Balancer:
    """`draw` is uniform over [0, 1), as `random.random` is."""

    def __init__(self, replicas: Replicas, breakers: Breakers, *, draw: Callable[[], float]) -> None:
        self._replicas = replicas
        self._breakers = breakers
        self._draw = draw
        replicas.left = breakers.forget
        replicas.loaded = breakers.renew

    @property
    def can_cancel(self) -> bool:
        """Whether a call may be cancelled without harm to any of the servers."""
        return all(each.triton.can_cancel for each in self._replicas.members)

    def check(self, target: ModelVersion) -> None:
        """Raises what `admit` would raise now."""
        for choices in (self._serving, self._away):
            if any(self._breaker(each, target).allows() for each in choices(target)):
                return
        raise self._refusal(target)

    def admit(self, target: ModelVersion, avoid: Replica | None = None) -> Admitted:
        """A call to the version, to another replica than this one if there is any; to one that is away only where all
        others are behind their breakers. Raises OutOfService.
        """
        choices = self._serving(target)
        if avoid is not None:
            choices = [each for each in choices if each is not avoid] or choices
        admitted = self._admitted(choices, target) or self._admitted(self._away(target), target)
        if admitted is None:
            raise self._refusal(target)
        return admitted

    def _admitted(self, choices: Sequence[Replica], target: ModelVersion) -> Admitted | None:
        replica = self._one_of(choices, target)
        if replica is None:
            return None
        breaker = self._breaker(replica, target)
        attempt = breaker.admit()
        if attempt is None:
            return None
        replica.in_flight += 1
        return Admitted(replica, breaker, attempt)

    def record(
        self, admitted: Admitted, target: ModelVersion, error: BaseException | None, judgement: Judgement
    ) -> None:
        """The end of a call."""
        replica = admitted.replica
        replica.in_flight -= 1
        replica.ended()
        if error is None:
            replica.answered += 1
            admitted.breaker.record(admitted.attempt, judgement)
            return
        replica.failed += 1
        self._replicas.note(replica, (target.model, target.version), error)
        # A stable version has no other that could answer in its place, and nobody can for a pinned one.
        only = target.variant in (Variant.STABLE, Variant.PINNED)
        last = only and not self._is_well_elsewhere(replica, target)
        admitted.breaker.record(admitted.attempt, judgement, last=last)

    def state(self, model: str, version: str) -> State:
        """Of this version's breakers the best."""
        target = ModelVersion(model, version, Variant.STABLE)
        found = {self._breaker(each, target).state for each in self._serving(target)}
        return next((state for state in (State.CLOSED, State.HALF_OPEN) if state in found), State.OPEN)

    def has_other(self, replica: Replica, target: ModelVersion) -> bool:
        """Whether another one could be called in its place now."""
        others = (each for each in self._serving(target) if each is not replica)
        return any(self._breaker(each, target).allows() for each in others)

    def _is_well_elsewhere(self, replica: Replica, target: ModelVersion) -> bool:
        others = (each for each in self._serving(target) if each is not replica)
        return any(self._breaker(each, target).state is State.CLOSED for each in others)

    def _one_of(self, choices: Sequence[Replica], target: ModelVersion) -> Replica | None:
        if len(choices) <= 1:
            return choices[0] if choices else None
        drawn = self._better_of_two(choices)
        if self._breaker(drawn, target).allows():
            return drawn
        allowed = [each for each in choices if self._breaker(each, target).allows()]
        return self._better_of_two(allowed) if allowed else None

    def _better_of_two(self, choices: Sequence[Replica]) -> Replica:
        first = int(self._draw() * len(choices))
        second = int(self._draw() * (len(choices) - 1))
        one, other = choices[first], choices[second + (second >= first) if len(choices) > 1 else first]
        return one if one.in_flight <= other.in_flight else other

    def _refusal(self, target: ModelVersion) -> GatewayError:
        waits = [self._breaker(each, target).retry_after for each in self._serving(target)]
        if not waits:
            return ConnectionFailed(
                "The inference server cannot be reached.", retry_after=1, internal="no address"
            )
        return OutOfService(
            "This version of the model has failed too often and is left alone for a moment.",
            retry_after=min(waits) or 1.0,
        )

    def _serving(self, target: ModelVersion) -> Sequence[Replica]:
        return self._replicas.serving((target.model, target.version))

    def _away(self, target: ModelVersion) -> Sequence[Replica]:
        return self._replicas.away((target.model, target.version))

    def _breaker(self, replica: Replica, target: ModelVersion) -> Breaker:
        return self._breakers.of(replica.endpoint, target)
