"""What one Triton is asked beside the calls: one model that nobody can read takes no other with it."""

import time

import grpc
import pytest
from support.fake_triton import CLASSIFIER, FakeTriton, config, serving, tensors_config

from gateway.errors import GatewayError
from gateway.upstream.client import TritonClient


async def test_a_model_with_a_datatype_that_nobody_knows_is_unavailable_and_no_other() -> None:
    newer = tensors_config("newer", [("a", "UINT8", [-1])], [("b", "UINT8", [-1])])
    newer.output[0].data_type = 99
    fake = FakeTriton(
        models={"newer": (newer, ["1"]), "pets": (config("pets", CLASSIFIER, output=[3]), ["1"])}
    )
    async with serving(fake) as url, TritonClient(url, clock=time.monotonic) as triton:
        inventory = await triton.inventory()
    assert [model.name for model in inventory.served] == ["pets"]
    assert inventory.unavailable.keys() == {"newer"}
    assert "99" in inventory.unavailable["newer"]


def two_models(code: grpc.StatusCode, said: str) -> FakeTriton:
    """Asked for the configuration of the first it says this."""
    pets = config("pets", CLASSIFIER, output=[3])
    return FakeTriton(
        models={"going": (pets, ["1"]), "pets": (pets, ["1"])}, config_errors={"going": (code, said)}
    )


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "Request for unknown model: 'going' version 1 is not at ready state",
        ),
        (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'going' is not found"),
    ],
)
async def test_a_model_that_goes_while_the_models_are_read_is_on_its_way_and_no_other(
    code: grpc.StatusCode, said: str
) -> None:
    async with serving(two_models(code, said)) as url, TritonClient(url, clock=time.monotonic) as triton:
        inventory = await triton.inventory()
    assert [model.name for model in inventory.served] == ["pets"]
    assert inventory.unavailable == {"going": "UNLOADING"}


@pytest.mark.parametrize("said", ["Server not ready", "Server exiting", "Socket closed"])
async def test_a_server_that_cannot_be_asked_has_no_inventory(said: str) -> None:
    """What is known of it is served on."""
    fake = two_models(grpc.StatusCode.UNAVAILABLE, said)
    async with serving(fake) as url, TritonClient(url, clock=time.monotonic) as triton:
        with pytest.raises(GatewayError):
            await triton.inventory()
