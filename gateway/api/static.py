"""What the pages need, and one page a problem code; nothing comes from another host."""

from collections.abc import Mapping
from string import Template

from litestar import MediaType, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from gateway.api.pages import read_page
from gateway.api.problems import KINDS

_ASSETS: Mapping[str, tuple[str, str]] = {
    "swagger-ui-bundle.js": ("vendor/swagger-ui/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("vendor/swagger-ui/swagger-ui.css", "text/css"),
    "start.js": ("start.js", "text/javascript"),
}
_A_DAY = {"Cache-Control": "public, max-age=86400"}


def static_routes() -> Router:
    @get("/docs/assets/{name:str}", include_in_schema=False, sync_to_thread=False)
    def asset(name: FromPath[str]) -> Response[bytes]:
        if name not in _ASSETS:
            raise NotFoundException
        path, media_type = _ASSETS[name]
        return Response(read_page(path), media_type=media_type, headers=_A_DAY)

    @get("/problems/{code:str}", include_in_schema=False, sync_to_thread=False)
    def problem(code: FromPath[str]) -> Response[str]:
        if code not in KINDS:
            raise NotFoundException
        kind = KINDS[code]
        page = Template(read_page("problem.html").decode())
        html = page.substitute(code=code, title=kind.title, status=kind.status, remedy=kind.remedy)
        return Response(html, media_type=MediaType.HTML)

    return Router("/", route_handlers=[asset, problem], opt={"public": True})
