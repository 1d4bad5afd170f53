"""What a request asks for in its headers, and what an answer says in its own, whatever the body is."""

import re
from email.utils import formatdate

from gateway.api.context import Connection
from gateway.api.cookies import cookie_of
from gateway.canary import Life, Preference, Source
from gateway.domain import ModelVersion
from gateway.errors import ValidationFailed
from gateway.priority import urgency_of
from gateway.schemas import is_version

_MILLISECONDS = re.compile(r"[1-9][0-9]{0,15}")


def timeout_of(request: Connection) -> float | None:
    """The seconds that the caller gives us by X-Request-Timeout, which is in milliseconds; None without it."""
    text = request.headers.get("x-request-timeout")
    if text is None:
        return None
    if not _MILLISECONDS.fullmatch(text):
        raise ValidationFailed.of("X-Request-Timeout", "A whole number of milliseconds, at least 1.")
    return int(text) / 1000


def pinned_by(request: Connection) -> str | None:
    """The version that X-Model-Version asks for."""
    text = request.headers.get("x-model-version")
    if text is not None and not is_version(text):
        raise ValidationFailed.of("X-Model-Version", "A version, such as 2.")
    return text


def preference_of(request: Connection) -> Preference | None:
    text = request.headers.get("x-canary")
    if text is None:
        return None
    try:
        return Preference(text)
    except ValueError:
        raise ValidationFailed.of("X-Canary", "always or never.") from None


def named_in(request: Connection, source: Source, name: str) -> str | None:
    """The end user whom a header or a cookie names."""
    value = request.headers.get(name) if source is Source.HEADER else cookie_of(request, name)
    return value or None


def urgency_in(request: Connection) -> int | None:
    """The urgency of the Priority headers; None where they ask for none."""
    return urgency_of(", ".join(request.headers.getall("priority", [])))


def version_headers(target: ModelVersion, life: Life | None) -> dict[str, str]:
    """Which version answered, and how long it has to live: Deprecation (RFC 9745) and Sunset (RFC 8594)."""
    headers = {"X-Model-Version": target.version, "X-Model-Variant": target.variant}
    if life is not None and life.deprecated_at is not None:
        headers["Deprecation"] = f"@{life.deprecated_at:.0f}"
    if life is not None and life.sunset_at is not None:
        headers["Sunset"] = formatdate(life.sunset_at, usegmt=True)
    return headers
