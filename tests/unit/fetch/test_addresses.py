"""The rule that says which addresses are on the internet."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile_urls import NOT_PUBLIC

from gateway.fetch.addresses import is_public

WRAPPERS = {
    "mapped": lambda inner: IPv6Address(0xFFFF << 32 | inner),
    "compatible": IPv6Address,
    "NAT64": lambda inner: IPv6Address(0x0064_FF9B << 96 | inner),
    "6to4": lambda inner: IPv6Address(0x2002 << 112 | inner << 80 | 1),
    "Teredo, as the server": lambda inner: IPv6Address(
        0x2001 << 112 | inner << 64 | 0xFFFF_FFFF ^ 0x0808_0808
    ),
    "Teredo, as the client": lambda inner: IPv6Address(
        0x2001 << 112 | 0x0808_0808 << 64 | 0xFFFF_FFFF ^ inner
    ),
}


@pytest.mark.parametrize("text", ["8.8.8.8", "93.184.215.14", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_hosts_on_the_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_what_is_not_on_the_internet_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@given(
    inner=st.ip_addresses(v=4) | st.sampled_from([ip_address(each) for each in NOT_PUBLIC if ":" not in each])
)
def test_a_wrapped_address_counts_as_what_it_wraps(wrapper: str, inner: IPv4Address) -> None:
    assert is_public(WRAPPERS[wrapper](int(inner))) == is_public(inner)


@given(address=st.ip_addresses())
def test_no_address_that_python_knows_as_private_is_public(address: IPv4Address | IPv6Address) -> None:
    assert not (is_public(address) and (address.is_private or address.is_multicast or address.is_link_local))


@given(address=st.ip_addresses(v=6))
def test_of_ipv6_only_global_unicast_and_what_wraps_ipv4_is_public(address: IPv6Address) -> None:
    prefixes = (0x2, 0x3)  # 2000::/3
    wraps = int(address) >> 96 in (0, 0x0064_FF9B)
    assert not is_public(address) or int(address) >> 124 in prefixes or wraps
