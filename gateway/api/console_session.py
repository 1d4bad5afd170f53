"""/console/session: an API key that administers becomes a session in a cookie that no script can read, and ends."""

from collections.abc import Callable

import structlog
from litestar import Response, Router, delete, get, post
from litestar.datastructures import Cookie

from gateway.api.admin_schemas import SessionView, moment
from gateway.api.context import HttpRequest, context_of
from gateway.api.credentials import by_key
from gateway.api.documentation import failures
from gateway.api.header_fields import SESSION
from gateway.api.operations import EmptyOperation
from gateway.api.same_origin import COOKIE
from gateway.auth import ConsoleSessions, DeniedTokens, DenyList
from gateway.auth.denylist import OUTLIVES_ALL
from gateway.auth.scopes import ANY_ADMINISTRATION
from gateway.domain import Principal
from gateway.errors import Overloaded
from gateway.store import StoreAway

_log = structlog.stdlib.get_logger("gateway.audit")


def console_session_routes(
    sessions: ConsoleSessions, withdrawn: DeniedTokens, copy: DenyList, clock: Callable[[], float]
) -> Router:
    """The handlers, bound to their collaborators. Whoever signs in sends the key as to every other route."""

    @post(
        "/",
        status_code=201,
        opt={"tells": SESSION},
        security=by_key(ANY_ADMINISTRATION),  # a session does not begin another
        operation_id="console_sign_in",
        summary="Begin a session of the console",
        responses=failures(),
        sync_to_thread=False,
    )
    def sign_in(request: HttpRequest) -> Response[SessionView]:
        caller = context_of(request).caller
        copy.check_open(caller.id)
        session = sessions.begin(caller)
        _log.info("console_signed_in", key=caller.id)
        cookie = _cookie(request, session.text, round(session.expires_at - clock()))
        return Response(_view(caller, session.expires_at), cookies=[cookie])

    @get(
        "/",
        operation_id="console_session",
        summary="Who is signed in",
        responses=failures(),
        sync_to_thread=False,
    )
    def show(request: HttpRequest) -> SessionView:
        caller = context_of(request).caller
        return _view(caller, caller.expires_at)

    @delete(
        "/",
        opt={"tells": SESSION},
        operation_id="console_sign_out",
        operation_class=EmptyOperation,
        summary="End the session; its cookie is worth nothing from then on",
        responses=failures(),
    )
    async def sign_out(request: HttpRequest) -> Response[None]:
        caller = context_of(request).caller
        if caller.session is not None:
            try:
                await withdrawn.end(caller.session, clock() + OUTLIVES_ALL)
                await copy.refresh()  # the other workers read it within a second
            except StoreAway as error:
                raise Overloaded(
                    "The session cannot be ended now.", retry_after=2, internal=str(error)
                ) from None
            _log.info("console_signed_out", key=caller.id)
        return Response(None, status_code=204, cookies=[_cookie(request, "", 0)])

    return Router(
        "/console/session",
        route_handlers=[sign_in, show, sign_out],
        opt={"scope": ANY_ADMINISTRATION},
        tags=["console"],
    )


def _cookie(request: HttpRequest, text: str, seconds: int) -> Cookie:
    """Over HTTPS for HTTPS alone; the browser's Origin knows it also behind a proxy that ends TLS."""
    origin = request.headers.get("origin")
    secure = request.scope["scheme"] == "https" if origin is None else origin.startswith("https://")
    return Cookie(
        key=COOKIE, value=text, path="/", max_age=seconds, httponly=True, samesite="strict", secure=secure
    )


def _view(caller: Principal, expires_at: float | None) -> SessionView:
    scopes = sorted(caller.scopes)
    return SessionView(key=caller.id, tenant=caller.tenant, scopes=scopes, expires_at=moment(expires_at))
