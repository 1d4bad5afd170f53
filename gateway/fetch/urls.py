"""Which URLs may be fetched, by their text alone: https, port 443, a host on the list, and nothing to guess at."""

import re
from collections.abc import Collection

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter, so that no form of an IP address is a name.
_HOST = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?")
# RFC 3986 without user, password and fragment, so that no two parsers can read two hosts from it.
_URL = re.compile(
    r"https://(?P<host>[a-z0-9.-]{4,253})(?::443)?"
    r"(?:/[a-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[a-z0-9._~!$&'()*+,;=:@%/?-]*)?",
    re.IGNORECASE | re.ASCII,
)


def is_host(text: str) -> bool:
    """Whether it is a full name of the DNS in lower case, such as images.example; never an address."""
    return _HOST.fullmatch(text) is not None


def host_of(url: str, hosts: Collection[str]) -> str | None:
    """The host of the URL; None where it is not on the list, or the URL is not of the one form that is fetched."""
    found = _URL.fullmatch(url)
    host = found["host"].lower() if found else ""
    return host if host in hosts and is_host(host) else None
