"""What is connected to is what was checked."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from support.virtual_time import VirtualLoop

from gateway.fetch.addresses import Address
from gateway.fetch.pinned import AddressRefused, PinnedTransport

V4, V6 = "93.184.215.14", "2606:4700::1"


class Wire(httpx.AsyncBaseTransport):
    """Keeps the requests; those to an address of `broken` fail to connect."""

    def __init__(self, broken: Sequence[str] = ()) -> None:
        self.requests: list[httpx.Request] = []
        self._broken = broken

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.host in self._broken:
            raise httpx.ConnectError("nobody there")
        return httpx.Response(200)


def naming(*addresses: str) -> Callable[[str], Coroutine[Any, Any, Sequence[Address]]]:
    async def resolve(_: str) -> Sequence[Address]:
        return [ip_address(address) for address in addresses]

    return resolve


async def get(transport: PinnedTransport) -> httpx.Response:
    return await transport.handle_async_request(httpx.Request("GET", "https://images.example/a?b=c"))


async def test_the_address_is_connected_to_under_the_hosts_name() -> None:
    wire = Wire()
    await get(PinnedTransport(naming(V4), wire))
    (request,) = wire.requests
    assert str(request.url) == f"https://{V4}/a?b=c"
    assert request.headers["host"] == "images.example"
    assert request.extensions["sni_hostname"] == "images.example"


async def test_one_bad_address_among_good_ones_refuses_them_all() -> None:
    wire = Wire()
    for addresses in ([V4, "10.0.0.1"], ["127.0.0.1", V4], [V6, V4, "::ffff:169.254.169.254"]):
        with pytest.raises(AddressRefused):
            await get(PinnedTransport(naming(*addresses), wire))
    hundred = [f"93.184.215.{number}" for number in range(99)]
    with pytest.raises(AddressRefused):
        await get(PinnedTransport(naming(*hundred, "192.168.0.1"), wire))
    assert wire.requests == []


async def test_a_family_that_cannot_be_reached_gives_way_to_the_other_once() -> None:
    wire = Wire(broken=[V6])
    assert (await get(PinnedTransport(naming(V6, "2606:4700::2", V4), wire))).status_code == 200
    assert [request.url.host for request in wire.requests] == [V6, V4]
    wire = Wire(broken=[V6, V4])
    with pytest.raises(httpx.ConnectError):
        await get(PinnedTransport(naming(V6, V4, "93.184.215.15"), wire))
    assert [request.url.host for request in wire.requests] == [V6, V4]


def test_a_name_that_takes_longer_than_two_seconds_is_given_up() -> None:
    async def resolve(_: str) -> Sequence[Address]:
        await asyncio.sleep(5)
        return [ip_address(V4)]

    async def seconds() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError):
            await get(PinnedTransport(resolve, Wire()))
        return loop.time() - began

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(seconds()) == pytest.approx(2.0)
