"""The pages and what they are made of; nothing comes from another host.

A page is one HTML file that loads style sheets and modules from /assets, and nothing in it runs inline: `SECURITY`
holds its browser to that. Assets are found again by their ETag, so a new gateway's are seen at once.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from litestar import MediaType, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from gateway.api.context import HttpRequest
from gateway.api.pages import assets, read_page

_SWAGGER: Mapping[str, tuple[str, str]] = {
    "swagger-ui-bundle.js": ("vendor/swagger-ui/swagger-ui-bundle.js", "text/javascript"),
    "swagger-ui.css": ("vendor/swagger-ui/swagger-ui.css", "text/css"),
    "start.js": ("start.js", "text/javascript"),
}
_A_DAY = {"Cache-Control": "public, max-age=86400"}
_MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}

SECURITY: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    media_type: str
    etag: str


def html_page(name: str) -> Response[bytes]:
    """A page of ours, under its policy."""
    return Response(read_page(name), media_type=MediaType.HTML, headers=page_headers())


def page_headers() -> dict[str, str]:
    return {**SECURITY, "Cache-Control": "no-cache"}


def static_routes() -> Router:
    held = {path: _asset(path, content) for path, content in assets().items()}

    @get("/assets/{path:path}", include_in_schema=False, sync_to_thread=False)
    def asset(request: HttpRequest, path: FromPath[str]) -> Response[bytes]:
        found = held.get(str(path).lstrip("/"))
        if found is None:
            raise NotFoundException
        headers = {"ETag": found.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        if request.headers.get("if-none-match") == found.etag:
            return Response(b"", status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    @get("/docs/assets/{name:str}", include_in_schema=False, sync_to_thread=False)
    def swagger(name: FromPath[str]) -> Response[bytes]:
        if name not in _SWAGGER:
            raise NotFoundException
        path, media_type = _SWAGGER[name]
        return Response(read_page(path), media_type=media_type, headers=_A_DAY)

    @get("/", include_in_schema=False, sync_to_thread=False)
    def start() -> Response[bytes]:
        return html_page("index.html")

    @get("/playground", include_in_schema=False, sync_to_thread=False)
    def playground() -> Response[bytes]:
        return html_page("playground.html")

    @get("/console", include_in_schema=False, sync_to_thread=False)
    def console() -> Response[bytes]:
        return html_page("console.html")

    return Router("/", route_handlers=[asset, swagger, start, playground, console], opt={"public": True})


def _asset(path: str, content: bytes) -> _Asset:
    tag = hashlib.blake2b(content, digest_size=12).hexdigest()
    return _Asset(content, _MEDIA_TYPES[PurePosixPath(path).suffix], f'"{tag}"')
