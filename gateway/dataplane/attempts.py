"""Which version answers: the one that was chosen, the stable one where that fails, and another that only listens."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from gateway.auth import has_scope
from gateway.auth.scopes import PIN_VERSION
from gateway.calls import Request
from gateway.canary import Ask, Choice, Mirror, Original, Versions
from gateway.canary.compare import Result as Compared
from gateway.catalog import Card
from gateway.dataplane.deadlines import Deadlines
from gateway.dataplane.job import Job, Lane, fall_back
from gateway.domain import Buffer, ModelVersion, Priority, Variant, is_ample
from gateway.errors import (
    DeadlineExceeded,
    InputError,
    OutOfService,
    Overloaded,
    QueueTimeout,
    UpstreamError,
    ValidationFailed,
)
from gateway.telemetry.timeline import Timeline

_Outcome = TypeVar("_Outcome")


class Router(Protocol):
    def choose(self, card: Card, ask: Ask) -> Choice: ...


class Outcomes(Protocol):
    """Hears how each attempt of a version ended, after how many seconds of Triton's time, and whether it was made
    instead of a canary's.
    """

    def record(
        self, target: ModelVersion, error: Exception | None, seconds: float, *, instead: bool = False
    ) -> None: ...


# An answer, and the seconds of Triton's time in it; None where it has only begun, and is recorded at its end.
Work = Callable[[Job], Awaitable[tuple[_Outcome, float | None]]]


class Attempts:
    """Of a request to its versions; `check` raises what calling one would come to now."""

    def __init__(
        self,
        router: Router,
        outcomes: Outcomes,
        mirror: Mirror[Lane],
        deadlines: Deadlines,
        check: Callable[[Job], None],
    ) -> None:
        self._router = router
        self._outcomes = outcomes
        self._mirror = mirror
        self._deadlines = deadlines
        self._check = check

    def assign(self, call: Request, card: Card, version: str | None) -> Job:
        """Version and deadline."""
        principal = call.principal
        may_pin = has_scope(principal, PIN_VERSION)
        choice = self._router.choose(card, Ask(principal, may_pin, version, call.preference, call.named))
        call.timeline.chosen(choice.target)
        usual = self._deadlines.usual_for(card)
        return Job(
            card=card,
            choice=choice,
            target=choice.target,
            priority=call.priority,
            deadline=self._deadlines.of(call.started, call.timeout, usual),
            usual=usual,
            request_id=call.request_id,
            follow=call.follow,
            timeline=call.timeline,
        )

    def admissible(self, job: Job) -> Job:
        """The job, on the stable version where the canary would refuse it.

        Raises what Triton's state or the wait for it would come to, before anything is decoded.
        """
        try:
            self._check(job)
        except (OutOfService, Overloaded) as error:
            self.record(job, error)
            return self.admissible(fall_back(job, error))
        return job

    async def serve(self, job: Job, work: Work[_Outcome]) -> tuple[Job, _Outcome]:
        """The answer, and the job as it was done: by the stable version where the canary failed."""
        try:
            return job, await self.attempt(job, work)
        except (UpstreamError, Overloaded, ValidationFailed) as error:
            served = await self.serve(fall_back(job, error), work)
            # Where the stable version fails as well, it was the request's doing, or that of a Triton that is away. That
            # counts for neither: for the canary, its callers could take it back; for the stable version, they could
            # make it look as bad as a bad canary.
            self.record(job, error)
            return served

    async def attempt(self, job: Job, work: Work[_Outcome]) -> _Outcome:
        """One version's answer. How a canary failed is recorded by `serve`, once the stable version has answered."""
        try:
            outcome, seconds = await work(job)
        except (UpstreamError, Overloaded) as error:
            if job.fallback is None:
                self.record(job, error)
            raise
        except (DeadlineExceeded, asyncio.CancelledError) as error:
            if self._timed_out(job, error):
                self.record(job, DeadlineExceeded("It ran out of time."))
            raise
        if seconds is not None:
            self.record(job, None, seconds)
        return outcome

    def record(self, job: Job, error: Exception | None, seconds: float = 0.0) -> None:
        """How the job's version did, for whoever judges versions."""
        self._outcomes.record(job.target, error, seconds, instead=job.stands_in)

    def _timed_out(self, job: Job, error: BaseException) -> bool:
        """Whether the version had ample time and gave no answer. Mirrored calls go last, which is no fault of its own,
        and neither is the wait for its turn, nor a caller that leaves.
        """
        if isinstance(error, QueueTimeout) or job.target.variant is Variant.SHADOW:
            return False
        over = isinstance(error, DeadlineExceeded) or job.deadline.remaining(self._deadlines.clock()) <= 0
        return over and is_ample(job.timeline.longest_call(job.target), job.usual)

    def offer(
        self,
        job: Job,
        target: ModelVersion,
        inputs: Sequence[Sequence[Buffer] | InputError],
        results: Sequence[Compared | InputError],
        attempt: Callable[[Job], Awaitable[Sequence[Compared]]],
    ) -> None:
        """The same call for the canary, of which the caller never hears."""
        versions = Versions(job.target.model, job.target.version, target.version)
        timeline = Timeline(self._deadlines.clock)  # of its own: nobody waits for it
        shadow = replace(
            job, target=target, priority=Priority.BATCH, follow=lambda _: None, timeline=timeline
        )
        self._mirror.offer(
            job.choice.share,
            [job.lane, shadow.lane],
            Original(versions, job.request_id, inputs, results),
            lambda deadline: attempt(replace(shadow, deadline=deadline)),
        )
