"""The pages that come with the gateway: the API description and one page a problem code, all without a network."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any

from litestar import MediaType, Response, Router, get
from litestar.exceptions import NotFoundException

from gateway.api.context import HttpRequest
from gateway.api.documentation import document
from gateway.api.problems import KINDS

_PAGES = files("gateway.api") / "pages"
_ASSETS: Mapping[str, tuple[str, str]] = {
    "swagger-ui-bundle.js": ("vendor/swagger-ui/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("vendor/swagger-ui/swagger-ui.css", "text/css"),
    "start.js": ("start.js", "text/javascript"),
}
_A_DAY = {"Cache-Control": "public, max-age=86400"}


@cache
def _page(path: str) -> bytes:
    return (_PAGES / path).read_bytes()


def static_routes() -> Router:
    @get("/docs", include_in_schema=False, sync_to_thread=False)
    def docs() -> Response[bytes]:
        return Response(_page("docs.html"), media_type=MediaType.HTML)

    @get("/docs/assets/{name:str}", include_in_schema=False, sync_to_thread=False)
    def asset(name: str) -> Response[bytes]:
        if name not in _ASSETS:
            raise NotFoundException
        path, media_type = _ASSETS[name]
        return Response(_page(path), media_type=media_type, headers=_A_DAY)

    @get("/openapi.json", include_in_schema=False, sync_to_thread=False)
    def openapi(request: HttpRequest) -> dict[str, Any]:
        return document(request.app)

    @get("/problems/{code:str}", include_in_schema=False, sync_to_thread=False)
    def problem(code: str) -> Response[str]:
        if code not in KINDS:
            raise NotFoundException
        kind = KINDS[code]
        page = Template(_page("problem.html").decode())
        html = page.substitute(code=code, title=kind.title, status=kind.status, remedy=kind.remedy)
        return Response(html, media_type=MediaType.HTML)

    return Router("/", route_handlers=[docs, asset, openapi, problem])
