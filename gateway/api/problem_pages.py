"""/problems and /problems/<code>: what each error means, whether to try again, and what to do, for people."""

import html
import tomllib
from collections.abc import Mapping
from string import Template

from litestar import MediaType, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from gateway.api.pages import read_page
from gateway.api.problems import KINDS, Kind, described
from gateway.api.static import page_headers

CAUSES: Mapping[str, str] = tomllib.loads(read_page("causes.toml").decode())
_RETRY: Mapping[int, str] = {
    408: "Yes: send it again.",
    412: "After reading the state anew.",
    429: "Yes, after the seconds in Retry-After.",
    500: "It may work; if it does not, tell the operator.",
    502: "It may work; if it does not, tell the operator. It cost you nothing.",
    503: "Yes, after the seconds in Retry-After. It cost you nothing.",
    504: "Yes, with more time (X-Request-Timeout) or less to do.",
}
_RETRY_OF_CODE: Mapping[str, str] = {
    "image_fetch_failed": "It may work, once the image's host does.",
    "upstream_error": "It may work; if it does not, tell the operator. It cost its price: the model ran.",
}
_NO_RETRY = "No: the same request gets the same answer."


def problem_routes() -> Router:
    @get("/problems", include_in_schema=False, sync_to_thread=False)
    def index() -> Response[str]:
        rows = "".join(
            _row(code, kind) for code, kind in sorted(KINDS.items(), key=lambda row: row[1].status)
        )
        return _filled("problems.html", rows=rows)

    @get("/problems/{code:str}", include_in_schema=False, sync_to_thread=False)
    def problem(code: FromPath[str]) -> Response[str]:
        if code not in KINDS:
            raise NotFoundException
        kind = KINDS[code]
        shown = described(code, "…", "/v1/detect", "4f1c…").model_dump_json(indent=2, exclude_none=True)
        return _filled(
            "problem.html",
            code=code,
            title=_text(kind.title),
            status=str(kind.status),
            cause=_text(CAUSES[code]),
            remedy=_text(kind.remedy),
            retry=_text(_RETRY_OF_CODE.get(code) or _RETRY.get(kind.status, _NO_RETRY)),
            example=_text(shown),
        )

    return Router("/", route_handlers=[index, problem], opt={"public": True})


def _row(code: str, kind: Kind) -> str:
    return (
        f'<tr><td class="number">{kind.status}</td><td><a href="/problems/{code}"><code>{code}</code></a></td>'
        f"<td>{_text(CAUSES[code])}</td></tr>"
    )


def _text(words: str) -> str:
    return html.escape(words, quote=False)


def _filled(name: str, **values: str) -> Response[str]:
    text = Template(read_page(name).decode()).substitute(values)
    return Response(text, media_type=MediaType.HTML, headers=page_headers())
