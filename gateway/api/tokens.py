"""/v1/tokens: a key becomes a short-lived token for pages. /admin/v1/tokens: any token is ended before its time."""

import time
from datetime import UTC, datetime

from litestar import Router, delete, post
from litestar.params import FromPath

from gateway.api.admin_schemas import NewToken, TokenRequest, Withdrawal
from gateway.api.body import BodyReader
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.api.operations import AdminOperation
from gateway.api.parsing import read_json, read_query
from gateway.auth import DeniedTokens, DenyList, SessionTokens
from gateway.auth.scopes import ADMIN_KEYS
from gateway.auth.sessions import require_key
from gateway.errors import Overloaded
from gateway.store import Area, Audit, StoreAway


def token_routes(sessions: SessionTokens, denied: DenyList, bodies: BodyReader) -> Router:
    @post(
        "/v1/tokens",
        status_code=201,
        operation_class=AdminOperation.taking(TokenRequest),
        summary="Make a token for pages",
        responses=failures(408, 413, 415, 422),
        tags=["tokens"],
    )
    async def create(request: HttpRequest) -> NewToken:
        caller = context_of(request).caller
        require_key(caller)  # before the body is read
        denied.check_open(caller.id)
        async with bodies.document(request) as body:
            wanted = read_json(request, body, TokenRequest)
        issued = sessions.mint(
            caller,
            origins=wanted.origins,
            scopes=wanted.scopes,
            models=wanted.models,
            ttl=wanted.ttl,
        )
        return NewToken(
            id=issued.id,
            token=issued.text,
            expires_at=datetime.fromtimestamp(issued.expires_at, UTC),
            scopes=sorted(issued.scopes),
        )

    return Router("/", route_handlers=[create])


def withdrawal_routes(store: DeniedTokens, copy: DenyList, audit: Audit) -> Router:
    """Needs the scope admin:keys, like ending a key."""

    @delete(
        "/{token_id:str}",
        operation_class=AdminOperation.asking(Withdrawal),
        summary="End a token, by its jti, or every token and session of a caller, by the caller's id",
        responses=failures(422),
        tags=["tokens"],
    )
    async def withdraw(request: HttpRequest, token_id: FromPath[str]) -> None:
        wanted = read_query(request.scope["query_string"], Withdrawal)
        try:
            await store.end(token_id, time.time() + wanted.seconds)
            await audit.note(context_of(request).caller.id, Area.KEYS, "end", token_id)
            await (
                copy.refresh()
            )  # the others see it at their next poll; this worker's caller may count on it now
        except StoreAway as error:
            raise Overloaded(
                f"Redis, where the list is kept, {error.state}.", retry_after=2, internal=str(error)
            ) from None

    return Router("/admin/v1/tokens", route_handlers=[withdraw], opt={"scope": ADMIN_KEYS})
