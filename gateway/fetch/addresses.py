"""Which IP addresses are on the public internet; the rule alone, without I/O.

Python's `is_global` is not enough: it lets through what wraps a private address (6to4, NAT64, IPv4 in IPv6), multicast,
site-local addresses, and some networks that are nobody's on the internet.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_NOT_PUBLIC_4 = tuple(
    map(
        IPv4Network,
        (
            "192.0.0.0/24",  # protocol assignments; a cloud's metadata is among them
            "192.88.99.0/24",  # the former relays of 6to4
            "168.63.129.16/32",  # a public address that one cloud answers itself, with a machine's secrets
        ),
    )
)
_UNICAST_6 = IPv6Network("2000::/3")  # all of IPv6 that is given to networks of the internet
_NOT_PUBLIC_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, which is in it, is unwrapped before
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
        ),
    )
)
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


def is_public(address: Address) -> bool:
    """Whether it is a host on the internet, and so are the IPv4 addresses that it wraps."""
    wrapped = _wrapped(address)
    return all(map(is_public, wrapped)) if wrapped else _is_public_itself(address)


def _wrapped(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return ()
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address.sixtofour is not None:
        return (address.sixtofour,)
    if address.teredo is not None:
        return address.teredo
    if address in _COMPATIBLE or address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return ()


def _is_public_itself(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return (
        not address.is_site_local
        and address in _UNICAST_6
        and not any(address in network for network in _NOT_PUBLIC_6)
    )
