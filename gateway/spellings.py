"""How settings that are text have to be written; what is not is told in words, never by a pattern."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network

from gateway.domain import is_origin
from gateway.fetch import is_host

_TRITON = re.compile(r"(?:dns:///)?[^/,\s]+:(\d{1,5})")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+/[^\s?#]*")
_MOST = 65_535  # as ports go


def triton_addresses(text: str) -> str:
    """As it is. Raises ValueError."""
    for part in text.split(","):
        found = _TRITON.fullmatch(part.strip())
        if found is None or not 0 < int(found[1]) <= _MOST:
            raise ValueError(
                f"{part.strip()!r} is not host:port, such as triton:8001 or dns:///triton:8001, with a port "
                f"from 1 to {_MOST}"
            )
    return text


def endpoint(text: str) -> str:
    """As it is. Raises ValueError."""
    if not _ENDPOINT.fullmatch(text):
        raise ValueError(
            "it is not a URL of http or https with a path, such as http://collector:4318/v1/traces"
        )
    return text


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Raises ValueError."""
    return tuple(_network(part) for part in _parts(text))


def hosts(text: str) -> tuple[str, ...]:
    """Names only: neither an address nor a wildcard says whom the operator trusts. Raises ValueError."""
    found = tuple(part.lower() for part in _parts(text))
    if wrong := [host for host in found if not is_host(host)]:
        raise ValueError(f"{wrong[0]!r} is not the name of a host such as images.example")
    return found


def origins(text: str) -> tuple[str, ...]:
    """Exact ones only: a wildcard beside credentials would open every page's door. Raises ValueError."""
    found = tuple(_parts(text))
    if wrong := [origin for origin in found if not is_origin(origin)]:
        raise ValueError(
            f"{wrong[0]!r} is not an origin as browsers write it, such as https://app.example or "
            "https://app.example:8443"
        )
    return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        pass
    try:
        meant = ip_interface(text).network
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8") from None
    raise ValueError(f"{text!r} is an address in a network: {meant} is the network")
