"""The administration of a running gateway over HTTP, as commands use it: answers, and errors a person can act on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import click
import httpx

Document = Mapping[str, Any]

DEFAULT_URL = "http://127.0.0.1:8080"
_STREAM_TIMEOUT = httpx.Timeout(10.0, read=40.0)  # a stream that lives says so every 15 s
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Unreachable(click.ClickException):
    """Nobody answered, or the answer broke off."""


class Refused(click.ClickException):
    """The gateway said no; `code` is its problem's. `story` are lines that tell how it came to that."""

    def __init__(self, status: int, problem: Document, story: Sequence[str] = ()) -> None:
        super().__init__("\n".join([_sentence(status, problem), *story]))
        self.status = status
        self.problem = problem
        self.code = problem.get("code")


@dataclass(frozen=True, slots=True)
class Answer:
    """`etag` is the generation of a route, as `If-Match` wants it back."""

    document: Document
    etag: str | None = None


class AdminClient:
    """Every method raises Refused or Unreachable."""

    def __init__(self, url: str, key: str | None, *, scope: str, seconds: float = 30.0) -> None:
        """`scope` is what the key needs, for those who have none; an answer may take `seconds`."""
        self._scope = scope
        self._timeout = httpx.Timeout(seconds, connect=5.0)
        self._url = url
        self._key = (key or "").strip()
        self._http: httpx.Client | None = None

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def get(self, path: str, **query: str | int) -> Answer:
        return self._call("GET", path, params=query)

    def send(
        self, method: str, path: str, body: Document | None = None, *, etag: str | None = None
    ) -> Answer:
        """A change; with `etag` only if nothing else changed it meanwhile."""
        headers = {"If-Match": etag} if etag else {}
        return self._call(method, path, json=dict(body or {}), headers=headers)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """The body of an answer that has no end, as it comes."""
        headers = {"Accept": "text/event-stream"}
        with (
            self._translated("GET"),
            self._client().stream("GET", path, headers=headers, timeout=_STREAM_TIMEOUT) as response,
        ):
            if not response.is_success:
                response.read()
                raise _refusal(response)
            yield response.iter_bytes()

    def _call(self, method: str, path: str, **options: Any) -> Answer:
        with self._translated(method):
            response = self._client().request(method, path, **options)
        if not response.is_success:
            raise _refusal(response)
        return Answer(_document(response), response.headers.get("etag"))

    def _client(self) -> httpx.Client:
        """Made with the first call, so that `--help` needs no key."""
        if not self._key:
            raise click.ClickException(
                f"there is no key: set GATEWAY_ADMIN_KEY (or --key) to one with the scope {self._scope}, "
                f"as `gateway keys create --tenant ops --scope {self._scope}` makes it"
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise click.ClickException(
                "the key in GATEWAY_ADMIN_KEY (or --key) holds characters that no key has"
            )
        if self._http is None:
            self._http = httpx.Client(
                base_url=self._url,
                timeout=self._timeout,
                headers={"Authorization": f"Bearer {self._key}"},
                trust_env=httpx.URL(self._url).host
                not in _LOOPBACK,  # no proxy knows this machine's own address
            )
        return self._http

    @contextmanager
    def _translated(self, method: str) -> Iterator[None]:
        """httpx's errors in the words of the commands."""
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise click.ClickException(
                f"{self._url!r} is no address; GATEWAY_URL or --url gives one"
            ) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(
                f"no gateway answers at {self._url} ({error}); is it running? GATEWAY_URL or --url says where it is"
            ) from None
        except httpx.TransportError as error:
            doubt = "" if method == "GET" else "; the change may have been made: look before you try again"
            raise Unreachable(
                f"the answer of {self._url} did not come ({error or type(error).__name__}){doubt}"
            ) from None


def route_path(model: str, action: str = "") -> str:
    """Of a model's route, or of an action on it. Raises click.BadParameter."""
    return _path("canaries", model, action)


def model_path(model: str, action: str = "") -> str:
    """Of a model in Triton's repository, or of an action on it. Raises click.BadParameter."""
    return _path("models", model, action)


def _path(kind: str, model: str, action: str) -> str:
    if model in ("", ".", ".."):  # a URL takes these for another path
        raise click.BadParameter(f"{model!r} is no name of a model", param_hint="MODEL")
    return f"/admin/v1/{kind}/{quote(model, safe='')}" + (f"/{action}" if action else "")


def printable(text: object) -> str:
    """One line, without what would steer a terminal: much of what is shown was written by others."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(text))


def _refusal(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "title" not in problem:
        return Refused(response.status_code, {"title": f"{response.url} answers {response.status_code}"})
    return Refused(response.status_code, problem)


def _sentence(status: int, problem: Document) -> str:
    """`title: detail`, then a line for each field that is wrong and each reason."""
    detail = problem.get("detail") or "this does not look like a gateway of ours"
    lines = [f"{problem['title']}: {detail}"]
    lines += [_wrong(field) for field in problem.get("errors") or ()]
    lines += [f"  {reason}" for reason in problem.get("reasons") or ()]
    if status == httpx.codes.UNAUTHORIZED:
        lines.append("  the key comes from GATEWAY_ADMIN_KEY or --key")
    return "\n".join(map(printable, lines))


def _wrong(field: Document) -> str:
    """A field with what is wrong with it; without a pointer it is all of them together."""
    return f"  {field['pointer']}: {field['detail']}" if field["pointer"] else f"  {field['detail']}"


def _document(response: httpx.Response) -> Document:
    if response.status_code == httpx.codes.NO_CONTENT:
        return {}
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise click.ClickException(f"{response.url} answers what is no JSON object: is it a gateway?")
    return found
