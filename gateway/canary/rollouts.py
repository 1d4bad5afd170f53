"""How a route is changed: read what stands, make the transition, check the canary, compare-and-set, and log why."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.canary.lifecycle import undo
from gateway.canary.preflight import Check
from gateway.canary.route import BrokenRoute, Route, default_route, from_document, to_document
from gateway.canary.store import Cause, Event, LostRace, RouteStore, Stored
from gateway.canary.table import Live, RouteTable
from gateway.errors import ModelNotFound, PreflightFailed, RouteConflict

Transition = Callable[[Route], Route]

_ATTEMPTS = 5  # of a change that does not say which generation it changes


class Preflight(Protocol):
    """Says whether the canary of a route is fit for traffic, or a version for all of it."""

    async def run(self, model: str, stable: str, canary: str) -> list[Check]: ...

    async def alone(self, model: str, version: str) -> list[Check]: ...


@dataclass(frozen=True, slots=True)
class Rollouts:
    """`stable_of` gives the version that answers for a model without a route; it raises ModelNotFound. `changed` hears
    of each change once it holds.

    Every method raises StoreAway, and ModelNotFound for a model that has no route and is not served.
    """

    store: RouteStore
    table: RouteTable[Route]
    preflight: Preflight
    stable_of: Callable[[str], str]
    changed: Callable[[str, Cause], None] = lambda *_: None

    async def standing(self, model: str) -> Live[Route]:
        """The route as the store has it now, or the default one; the applied one where that is `unreadable`."""
        return self._live(model, await self._stored(model))

    def applied(self, model: str) -> Live[Route]:
        """The route as this worker applies it. Raises ModelNotFound."""
        return self.table.route(model) or Live(default_route(model, self.stable_of(model)), 0)

    def models(self, served: Iterable[str]) -> list[str]:
        """Whose routes matter, by name: all that are `served`, and those whose rollout is under way all the same."""
        routes = self.table.routes()
        return sorted({*served, *(model for model, live in routes.items() if live.route.under_way)})

    async def change(
        self, model: str, transition: Transition, cause: Cause, *, expected: int | None = None
    ) -> Live[Route]:
        """The route after the transition; `expected` is the generation that it is meant for, None for any.

        The transition is made twice, before the pre-flight and after it: what it dates begins when traffic may flow.
        A change that gives a version more traffic is meant for the route that was read first: what somebody else has
        made of it meanwhile, nobody has looked at. Raises LostRace, RefusedChange, PreflightFailed; RouteConflict where
        the route moved under a change that says no generation.
        """
        for attempt in range(_ATTEMPTS):
            before = await self.standing(model)
            if expected not in (None, before.generation):
                raise LostRace(model, before.generation)
            after = transition(before.route)
            await self._check(before.route, after)
            after = transition(before.route)
            try:
                return await self._put(model, after, before.generation, cause)
            except LostRace as error:
                if expected is not None:
                    raise
                if _gives_more(before.route, after) or attempt + 1 == _ATTEMPTS:
                    raise _moved(error) from None
        raise AssertionError("the last attempt answers or raises")

    async def undo(
        self, model: str, clock: Callable[[], float], cause: Cause, *, expected: int | None = None
    ) -> Live[Route]:
        """The route as it was before the change that stands now, or that `expected` names; never before a later one.

        `clock` is that of the store. Raises as `change`, and RouteConflict where nobody knows what was before.
        """
        standing = await self.standing(model)
        earlier = await self.store.before(model)
        if (
            earlier is None or earlier.generation + 1 < standing.generation
        ):  # routes that were written back have none
            raise RouteConflict("There is no change to undo.")
        before = self._live(model, earlier)
        if before.unreadable:
            raise RouteConflict(f"What was before cannot be read ({before.unreadable}).")
        meant = standing.generation if expected is None else expected
        try:
            return await self.change(
                model, lambda route: undo(route, before.route, clock()), cause, expected=meant
            )
        except LostRace as error:
            if expected is not None:
                raise
            raise _moved(error) from None

    async def delete(self, model: str, cause: Cause, *, expected: int) -> None:
        """Back to the default route, also from one that cannot be read.

        Raises LostRace, PreflightFailed, and RouteConflict where the route is frozen.
        """
        stored = await self._stored(model)
        if stored.generation != expected:
            raise LostRace(model, stored.generation)
        await self._check_deletion(model, stored)
        await self.store.put(model, None, expected, cause)
        await self.table.refresh()

    async def events(
        self, model: str | None, *, limit: int, after: str | None, before: str | None
    ) -> list[Event]:
        """The log of changes; see `RouteStore.events`."""
        return await self.store.events(model, limit=limit, after=after, before=before)

    async def _check(self, before: Route, after: Route) -> None:
        """Another stable version, more traffic for a canary or traffic for another one: each has to be fit for it."""
        if after.stable != before.stable:
            _require(after.stable, await self.preflight.alone(after.model, after.stable))
        if after.canary is not None and _has_more(after, before):
            _require(after.canary, await self.preflight.run(after.model, after.stable, after.canary))

    async def _check_deletion(self, model: str, stored: Stored) -> None:
        """The default route may have another stable version. Of a model that is not served nobody is moved."""
        try:
            before = self._live(model, stored).route
            if before.frozen:
                raise RouteConflict("The route is frozen.")
            await self._check(before, default_route(model, self.stable_of(model)))
        except ModelNotFound:
            if stored.document is None:
                raise

    async def _stored(self, model: str) -> Stored:
        """What the store has now; what it has lost, and this worker knows, it learns again first."""
        stored = await self.store.get(model)
        if stored.generation >= self.table.generation(model):
            return stored
        await self.table.refresh(doubted=True)
        return await self.store.get(model)

    async def _put(self, model: str, route: Route, expected: int, cause: Cause) -> Live[Route]:
        generation = await self.store.put(model, to_document(route), expected, cause)
        self.changed(model, cause)
        await self.table.refresh()  # the others hear of it; this worker applies it before it answers
        return Live(route, generation)

    def _live(self, model: str, stored: Stored) -> Live[Route]:
        if stored.document is None:
            return Live(default_route(model, self.stable_of(model)), stored.generation)
        try:
            return Live(from_document(stored.document), stored.generation)
        except BrokenRoute as error:
            return Live(self.applied(model).route, stored.generation, unreadable=str(error))


def _gives_more(before: Route, after: Route) -> bool:
    """Whether a version gets traffic with the change that it does not get without."""
    return after.stable != before.stable or (after.canary is not None and _has_more(after, before))


def _moved(error: LostRace) -> RouteConflict:
    return RouteConflict(
        f"Somebody else changed the route meanwhile; it is at generation {error.current}. Look, and try again."
    )


def _has_more(after: Route, before: Route) -> bool:
    """Whether the canary of `after` gets anything that it does not get now."""
    if not after.under_way or not (after.weight or after.mirror or after.always):
        return False
    if after.canary != before.canary or not before.under_way:
        return True
    return after.weight > before.weight or after.mirror > before.mirror or after.always != before.always


def _require(version: str, checks: Sequence[Check]) -> None:
    reasons = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if reasons:
        raise PreflightFailed(f"Version {version} is not fit for traffic.", reasons)
