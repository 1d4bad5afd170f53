"""How much of a request's head is too much, and which heads are none: pure functions of bytes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import HeadersTooLarge, MalformedHttp, UriTooLong

Headers = Sequence[tuple[bytes, bytes]]

_VERSIONS = ("1.0", "1.1")
_ORIGIN_FORM = re.compile(rb"/[!\"$-~]*")  # visible ASCII; what follows a # is never sent
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")  # RFC 3986: a name or an address, and a port

# Of these the first would count. Credentials have an answer of their own, and Priority is a list.
_SINGLE = frozenset(
    {
        b"content-encoding",
        b"content-type",
        b"if-match",
        b"inference-header-content-length",
        b"origin",
        b"referer",
        b"sec-fetch-site",
        b"x-canary",
        b"x-console",
        b"x-model-version",
        b"x-request-timeout",
    }
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """`head_seconds` is from the first byte of a head to its last, and from a connection to its first byte.

    `url`, `header_bytes` (names and values together) and `framing` are in bytes; framing is what a request consists of
    beside its target, its headers and its body: white space, chunk extensions, a header that does not end.
    `connections` are those that one address may hold open to one worker.
    """

    head_seconds: float = 5.0
    url: int = 8 * 1024
    headers: int = 100
    header_bytes: int = 32 * 1024
    framing: int = 64 * 1024
    connections: int = 1024

    def url_error(self, size: int) -> UriTooLong | None:
        return UriTooLong(f"A request target has at most {self.url} bytes.") if size > self.url else None

    def header_error(self, count: int, size: int) -> HeadersTooLarge | None:
        if count > self.headers:
            return HeadersTooLarge(f"A request has at most {self.headers} headers.")
        if size > self.header_bytes:
            return HeadersTooLarge(f"The headers of a request have at most {self.header_bytes} bytes.")
        return None

    def framing_error(self, size: int, *, in_head: bool) -> HeadersTooLarge | MalformedHttp | None:
        if size <= self.framing:
            return None
        if in_head:
            return HeadersTooLarge(f"The headers of a request have at most {self.header_bytes} bytes.")
        return MalformedHttp("The body comes in more framing than can be meant well.")


def head_error(version: str, target: bytes, headers: Headers) -> MalformedHttp | None:
    """What httptools lets pass and a server must not.

    An HTTP/1.0 request may leave Host out, as health checks of load balancers do; nobody may send two.
    """
    hosts = _values(headers, b"host")
    codings = [value.strip().lower() for value in _values(headers, b"transfer-encoding")]
    wrong = {
        "This server speaks HTTP/1.1.": version not in _VERSIONS,
        "The request target is not a path.": not is_origin_form(target),
        "A request has exactly one Host.": len(hosts) > 1 or (version == "1.1" and not hosts),
        "One header says two things.": _contradict(headers),
        "Host is not the name of a host.": not all(map(_HOST.fullmatch, hosts)),
        "Transfer-Encoding is chunked or absent, and absent in HTTP/1.0.": codings not in ([], [b"chunked"])
        or (version == "1.0" and codings != []),
    }
    return next((MalformedHttp(detail) for detail, is_so in wrong.items() if is_so), None)


def _contradict(headers: Headers) -> bool:
    """Whether a header that has one value came with two: a proxy may have judged the other one."""
    said = [(name, value) for name, value in headers if name in _SINGLE]
    return len(dict(said)) != len(set(said))


def is_origin_form(target: bytes) -> bool:
    """A path and perhaps a query, as RFC 9112 has it for everything but proxies."""
    return _ORIGIN_FORM.fullmatch(target) is not None


def has_body(headers: Headers) -> bool:
    """Whether bytes follow the head."""
    lengths = _values(headers, b"content-length")
    return bool(_values(headers, b"transfer-encoding")) or any(length.strip() != b"0" for length in lengths)


def body_length(headers: Headers) -> int:
    """The bytes of a body without framing, whose length the parser has found well-formed; 0 for every other one.

    Raises ValueError for a length of thousands of digits, nearly all zeros: the parser only minds what they amount to.
    """
    return sum(map(int, _values(headers, b"content-length")))


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for each, value in headers if each == name]
