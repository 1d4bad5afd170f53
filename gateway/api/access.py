"""The door: who calls, what they may do, and whether their quota has room; decided from headers, the body unread.

Every route is behind it unless it says `opt={"public": True}`, or `opt={"networks": …}` for those who come from there.
A route that needs a scope of its own says `opt={"scope": …}`; the others need one that allows some inference. What says
`opt={"free": True}` costs nothing of a quota. Where the scope is one of administration, a model in the path has to be
one of the caller's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from litestar.datastructures import Headers
from litestar.handlers import BaseRouteHandler

from gateway.api.context import Connection, Context, context_of
from gateway.api.networks import comes_from
from gateway.api.origins import page_of
from gateway.api.same_origin import check_meant, session_of
from gateway.auth import Authenticator, is_listed, require_inference, require_scope
from gateway.auth.keys import PREFIX as KEY_PREFIX
from gateway.auth.scopes import is_administration
from gateway.domain import Principal, Tier
from gateway.errors import (
    AmbiguousCredentials,
    BodyTooLarge,
    Forbidden,
    ModelNotFound,
    Overloaded,
    RateLimited,
    Unauthenticated,
    UpstreamFailed,
)
from gateway.ratelimit import Decision, RateLimiter, Refusal
from gateway.telemetry.timeline import Stage

BEARER = "bearer."  # before a token that stands among the subprotocols of a WebSocket

_OUR_FAULT = (502, 503)  # answers that cost the caller nothing, unless the model has worked for them
_REASONS = {
    Refusal.QUOTA: "Your quota is spent for the moment.",
    Refusal.IN_FLIGHT: "Too many of your requests are in flight.",
    None: "Your quota is spent for the moment.",
}


class Access:
    """A guard in Litestar's sense: raises, or lets the request on to its handler. `decided` hears each charge."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        limiter: RateLimiter,
        tiers: Mapping[str, Tier],
        decided: Callable[[str, Decision], None],
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._tiers = tiers
        self._decided = decided

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        if handler.opt.get("public") or comes_from(connection, handler.opt.get("networks", ())):
            return
        context = context_of(connection)
        scope = handler.opt.get("scope")
        await self.recognise(connection, context, scope)
        if not handler.opt.get("free"):
            await self.let_in(context)
        if is_administration(scope or ""):
            _check_listed(context.caller, connection.path_params.get("model"))

    async def recognise(self, connection: Connection, context: Context, scope: str | None = None) -> None:
        """Finds out who calls, for `context`, and whether they may. Raises what the authenticator does; Forbidden."""
        with context.timeline.stage(Stage.AUTH):
            principal = await self._authenticate(connection, administers=is_administration(scope or ""))
            check_meant(connection, principal)
        context.principal = principal
        _check_scope(principal, scope)

    async def _authenticate(self, connection: Connection, *, administers: bool) -> Principal:
        headers = connection.headers
        client = connection.client
        return await self._authenticator.authenticate(
            authorization=_authorization(connection),
            x_api_key=_only(headers, "x-api-key"),
            session=session_of(connection),
            origin=page_of(headers),
            peer=client.host if client else "",
            administers=administers,
        )

    async def let_in(self, context: Context) -> None:
        """Charges a known caller one unit, and holds a place in flight until the context ends. Raises RateLimited."""
        principal = context.caller
        tier = self.tier_of(principal)
        with context.timeline.stage(Stage.LIMIT):
            decision = await self._limiter.acquire(principal, tier, 1)
        context.at_end.append(lambda status: self._settle(context, principal, tier, status))
        self._hear(context, tier, decision)

    async def charge_more(self, context: Context, units: int) -> None:
        """Takes what a request costs beyond what it has paid since the door. Raises RateLimited, BodyTooLarge."""
        if units <= 0:
            return
        principal = context.caller
        tier = self.tier_of(principal)
        with context.timeline.stage(Stage.LIMIT):
            decision = await self._limiter.charge(principal, tier, units, context.decisions)
        self._hear(context, tier, decision)

    def _hear(self, context: Context, tier: Tier, decision: Decision) -> None:
        context.decisions.append(decision)
        self._decided(tier.name, decision)
        check_allowed(decision)

    def _settle(self, context: Context, principal: Principal, tier: Tier, status: int) -> None:
        """What was refused for a part of its price gets the rest back as well, else each try would cost a unit.

        What a model failed on is paid: it ran, and who knows such a request would make it run for nothing.
        """
        ours = status in _OUR_FAULT and context.code != UpstreamFailed.code
        returned = ours or not context.decisions[-1].allowed
        for decision in context.decisions:
            self._limiter.release(decision)
            if returned:
                self._limiter.refund(principal, tier, decision)

    def tier_of(self, principal: Principal) -> Tier:
        """Raises Forbidden for a tier that is not configured."""
        tier = self._tiers.get(principal.tier)
        if tier is None:
            raise Forbidden("The tier of this key is not configured here.")
        return tier


def check_allowed(decision: Decision) -> None:
    """Raises RateLimited, BodyTooLarge for a request that no waiting helps, Overloaded where nobody can tell."""
    if decision.allowed:
        return
    if decision.refusal is Refusal.IMPOSSIBLE:
        raise BodyTooLarge(_too_dear(decision))
    if decision.refusal is Refusal.STORE_AWAY:
        raise Overloaded("The quotas cannot be looked up.", retry_after=decision.retry_after)
    raise RateLimited(_REASONS[decision.refusal], retry_after=decision.retry_after)


def _too_dear(decision: Decision) -> str:
    bound = next(bucket for bucket in decision.buckets if bucket.name == decision.refused_by)
    return (
        f"This request costs {decision.cost} units, and your quota ({bound.name}) never holds more than "
        f"{bound.capacity} at once: send fewer or smaller inputs."
    )


def _only(headers: Headers, name: str) -> str | None:
    """The header's value. Raises AmbiguousCredentials for two lines of it: a proxy may have judged the other one."""
    values = headers.getall(name, [])
    if len(values) > 1:
        raise AmbiguousCredentials("Send one credential, in one header.")
    return values[0] if values else None


def _authorization(connection: Connection) -> str | None:
    """The header, or what a page sends in its place: a browser opens a WebSocket without headers of a page's own, but
    offers the subprotocols that it names. Raises AmbiguousCredentials, Unauthenticated."""
    header = _only(connection.headers, "authorization")
    offered = cast("Sequence[str]", connection.scope.get("subprotocols", ()))
    tokens = [each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)]
    if not tokens:
        return header
    if header is not None or len(tokens) > 1:
        raise AmbiguousCredentials("Send one credential: in a header, or as a subprotocol.")
    if tokens[0].startswith(KEY_PREFIX):
        raise Unauthenticated("As a subprotocol send a token from POST /v1/tokens, not an API key.")
    return f"Bearer {tokens[0]}"


def _check_listed(principal: Principal, model: str | None) -> None:
    """Raises ModelNotFound, whether or not there is such a model."""
    if model is not None and not is_listed(principal, model):
        raise ModelNotFound("There is no model of this name that you may administer.")


def _check_scope(principal: Principal, scope: str | None) -> None:
    if scope is None:
        require_inference(principal)
    else:
        require_scope(principal, scope)
