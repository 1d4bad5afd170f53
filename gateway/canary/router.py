"""The routing decision for one request: pure, from what this worker knows of the model's route."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

from gateway.canary.route import Life, Route, Source, Sticky, default_route
from gateway.canary.split import on_canary
from gateway.canary.table import Live
from gateway.catalog import Card
from gateway.domain import ModelVersion, Principal, Variant
from gateway.errors import Forbidden, ModelUnavailable, VersionNotFound
from gateway.value import value


class Preference(StrEnum):
    """What a caller with the scope for it may ask of a rollout."""

    ALWAYS = "always"
    NEVER = "never"


@value
class Ask:
    """Who asks, and for what. `named` gives the value of a header or cookie, None where there is none.

    `may_pin` says whether the caller may choose at all.
    """

    principal: Principal
    may_pin: bool
    pinned: str | None
    preference: Preference | None
    named: Callable[[Source, str], str | None]


@value
class Choice:
    """`fallback` answers where the target cannot; `mirror` gets a copy of `share` of the calls (basis points).

    `lives` tells of the model's versions which are deprecated.
    """

    target: ModelVersion
    lives: Mapping[str, Life]
    fallback: ModelVersion | None = None
    mirror: ModelVersion | None = None
    share: int = 0


class Routes(Protocol):
    """Where the routes are looked up."""

    def route(self, model: str) -> Live[Route] | None: ...


class Router:
    """`choose` is asked once a request."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def choose(self, card: Card, ask: Ask) -> Choice:
        """Raises Forbidden for a wish of a caller who may not choose, VersionNotFound for a pin to a version that is
        not loaded, ModelUnavailable where the stable version is not.
        """
        if (ask.pinned or ask.preference) and not ask.may_pin:
            raise Forbidden("Asking for a version needs the scope pin-version.")
        live = self._routes.route(card.name)
        route = live.route if live else default_route(card.name, card.default_version)
        if ask.pinned:
            return _pinned(card, route, ask.pinned)
        if route.stable not in card.served.versions:
            raise ModelUnavailable("This model cannot be served at the moment.", retry_after=2)
        stable = ModelVersion(card.name, route.stable, Variant.STABLE)
        canary = _canary(card, route)
        if canary is None:
            return Choice(stable, route.lives)
        if _goes_to_canary(route, ask):
            return Choice(canary, route.lives, fallback=stable)
        if not route.mirror:
            return Choice(stable, route.lives)
        shadow = ModelVersion(canary.model, canary.version, Variant.SHADOW)
        return Choice(stable, route.lives, mirror=shadow, share=route.mirror)


def _pinned(card: Card, route: Route, version: str) -> Choice:
    if version not in card.served.versions:
        raise VersionNotFound("This version of the model is not loaded.")
    return Choice(ModelVersion(card.name, version, Variant.PINNED), route.lives)


def _canary(card: Card, route: Route) -> ModelVersion | None:
    """The canary, where a rollout is under way and Triton has it ready."""
    if not route.under_way or route.canary is None or route.canary not in card.served.versions:
        return None
    return ModelVersion(card.name, route.canary, Variant.CANARY)


def _goes_to_canary(route: Route, ask: Ask) -> bool:
    if ask.preference is not None:
        return ask.preference is Preference.ALWAYS
    if ask.principal.id in route.always or ask.principal.tenant in route.always:
        return True
    return on_canary(route.salt, _subject(route.sticky, ask), route.weight)


def _subject(sticky: Sticky, ask: Ask) -> str:
    """The caller, or the end user whom a caller names; names of different tenants are different people."""
    named = ask.named(sticky.kind, sticky.name) if sticky.name else None
    return f"{ask.principal.tenant}/{named}" if named else ask.principal.id
