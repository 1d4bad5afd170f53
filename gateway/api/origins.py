"""Where a request comes from, by headers that anybody may write: whatever stands there is read, and nothing fails."""

from urllib.parse import urlsplit

from litestar.datastructures import Headers


def page_of(headers: Headers) -> str | None:
    """The origin of the page that calls. Browsers leave Origin out of a GET from the page's own host; the page itself,
    which no script can invent, stands in Referer then."""
    origin = headers.get("origin")
    return _origin(headers.get("referer", "")) if origin is None else origin


def is_own(origin: str, headers: Headers) -> bool:
    """Whether an Origin names the host that the request was sent to."""
    found = _origin(origin)
    return found is not None and found.partition("://")[2] == headers.get("host")


def _origin(url: str) -> str | None:
    """Scheme and host of a URL; None for a text that is none."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that nobody closes
        return None
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else None
