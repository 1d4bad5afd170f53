"""A call with all that was decided for it: version, deadline, class, and where it queues."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from gateway.canary import Choice
from gateway.catalog import Card
from gateway.domain import Deadline, ModelVersion, Priority
from gateway.telemetry.timeline import Timeline
from gateway.value import value


class Lane(NamedTuple):
    """What has a queue of its own in Triton. `capacity` are the images that it can put to use at once; `usual` are
    the seconds that its requests have."""

    model: str
    version: str
    capacity: int
    usual: float


@value
class Job:
    """A call with all that was decided for it. `usual` are the seconds that requests to its model have by default."""

    card: Card
    choice: Choice
    target: ModelVersion
    priority: Priority
    deadline: Deadline
    usual: float
    request_id: str
    follow: Callable[["asyncio.Future[Any]"], None]
    timeline: Timeline

    @property
    def lane(self) -> Lane:
        return Lane(self.target.model, self.target.version, self.card.capacity, self.usual)

    @property
    def fallback(self) -> ModelVersion | None:
        """The stable version, where this is a canary's job."""
        return None if self.stands_in else self.choice.fallback

    @property
    def stands_in(self) -> bool:
        """Whether the stable version answers in a canary's place."""
        return self.target == self.choice.fallback


def fall_back(job: Job, error: Exception) -> Job:
    """The job on the stable version. Raises the error where the job is no canary's."""
    if job.fallback is None:
        raise error
    job.timeline.chosen(job.fallback)
    return replace(job, target=job.fallback)
