"""POST /v1/tokens: a key becomes a short-lived token for pages, so that no long-lived key reaches one."""

from datetime import UTC, datetime

from litestar import Response, Router, post

from gateway.api.admin_schemas import NewToken, TokenRequest
from gateway.api.body import BodyReader
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import AdminOperation, failures
from gateway.api.parsing import read_json
from gateway.auth import SessionTokens


def token_routes(sessions: SessionTokens, bodies: BodyReader) -> Router:
    @post(
        "/v1/tokens",
        status_code=201,
        operation_class=AdminOperation.taking(TokenRequest),
        summary="Make a token for pages",
        responses=failures(400, 401, 403, 408, 413, 415, 422, 429, 503),
        tags=["tokens"],
    )
    async def create(request: HttpRequest) -> Response[NewToken]:
        async with bodies.read(request) as body:
            wanted = read_json(request, body, TokenRequest)
        issued = sessions.mint(
            context_of(request).caller,
            origins=wanted.origins,
            scopes=wanted.scopes,
            models=wanted.models,
            ttl=wanted.ttl,
        )
        content = NewToken(
            token=issued.text,
            expires_at=datetime.fromtimestamp(issued.expires_at, UTC),
            scopes=sorted(issued.scopes),
        )
        return Response(content, headers={"Cache-Control": "no-store"})

    return Router("/", route_handlers=[create])
