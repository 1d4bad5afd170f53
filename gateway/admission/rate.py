"""How fast a replica works while it has enough to do, and how fast to feed it (pure)."""

_WINDOW = 0.25  # seconds; several batches
_WEIGHT = 0.3  # of the newest window
_SLACK = 0.25  # of the time between two calls: how late a timer may be without slowing the pace


class ServiceRate:
    """Completions a second, smoothed; only time in which work was waiting counts."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._since: float | None = None
        self._count = 0

    @property
    def value(self) -> float | None:
        """None until it was measured once."""
        return self._rate

    def completed(self, now: float, *, busy: bool) -> None:
        """A call was answered; `busy` says whether work was waiting, or all slots were taken, until now."""
        if not busy:
            self._since = None
        elif self._since is None:
            self._since, self._count = now, 0
        else:
            self._count += 1
            if now - self._since >= _WINDOW:
                self._measured(self._count / (now - self._since))
                self._since, self._count = now, 0

    def _measured(self, sample: float) -> None:
        self._rate = sample if self._rate is None else self._rate + _WEIGHT * (sample - self._rate)


class Pace:
    """When the next call may be handed over if calls are spread evenly instead of sent in bursts.

    A batching server frees a whole batch of slots at once. Filled at once, its next batch is complete with low
    classes, and an urgent request that comes a moment later waits for the one after that.
    """

    def __init__(self) -> None:
        self._next = 0.0

    @property
    def due(self) -> float:
        return self._next

    def spend(self, now: float, limit: int, latency: float) -> None:
        """A call was handed over. By Little's law `limit` calls that take `latency` seconds each fill the limit.

        So the pace is never what keeps calls in flight below the limit, however slow the server was a moment ago.
        What went without regard to it, as urgent calls do, keeps others waiting no longer than a call takes.
        """
        interval = latency / limit
        self._next = min(max(self._next, now - _SLACK * interval) + interval, now + latency)
