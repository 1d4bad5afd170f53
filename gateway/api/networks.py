"""Where a request comes from: for the few routes that some networks may read without a key."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from gateway.api.context import Connection

_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def comes_from(connection: Connection, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer is in one of them. What a proxy says that it passed on comes from nowhere near."""
    if not networks or connection.client is None:
        return False
    if any(name in connection.headers for name in _PASSED_ON):
        return False
    return is_within(connection.client.host, networks)


def is_within(peer: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the address, as text, is in one of them; an IPv4 address that IPv6 carries is itself."""
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
