"""Names of Tritons: each is followed by itself, and what is known stays where nobody can say more."""

import pytest

from gateway.upstream.endpoints import Endpoints


class Names:
    """A name server that the test writes."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses

    async def resolve(self, host: str, _: int) -> list[str]:
        if host not in self.addresses:
            raise OSError("no such name")
        return self.addresses[host]


async def test_addresses_names_and_lists_are_taken_together_each_once() -> None:
    names = Names(a=["10.0.0.2", "10.0.0.1"], b=["fd00::1"])
    found, trouble = await Endpoints("10.0.0.1:1, dns:///a:1,dns:///b:2", names.resolve).find()
    assert found == ["10.0.0.1:1", "10.0.0.2:1", "[fd00::1]:2"]
    assert trouble == ""


async def test_a_name_that_cannot_be_looked_up_keeps_what_it_had_while_others_are_followed() -> None:
    names = Names(a=["10.0.0.1"], b=["10.0.1.1"])
    endpoints = Endpoints("dns:///a:1,dns:///b:1", names.resolve)
    await endpoints.find()
    del names.addresses["b"]
    names.addresses["a"] = ["10.0.0.2"]
    found, trouble = await endpoints.find()
    assert found == ["10.0.0.2:1", "10.0.1.1:1"]
    assert trouble == "b:1: no such name"


async def test_a_name_without_an_address_keeps_what_it_had() -> None:
    names = Names(a=["10.0.0.1"])
    endpoints = Endpoints("dns:///a:1", names.resolve)
    await endpoints.find()
    names.addresses["a"] = []
    assert await endpoints.find() == (["10.0.0.1:1"], "")


async def test_what_can_be_no_name_is_told_as_one_that_cannot_be_looked_up() -> None:
    found, trouble = await Endpoints("10.0.0.1:1,dns:///triton..svc:8001").find()
    assert found == ["10.0.0.1:1"]
    assert trouble.startswith("triton..svc:8001: ")


@pytest.mark.parametrize("written", ["10.0.0.1:1", "10.0.0.1:1,10.0.0.2:1"])
def test_addresses_alone_do_not_change(written: str) -> None:
    assert not Endpoints(written).change
