"""What one Triton is asked beside the calls: one model that nobody can read takes no other with it."""

import time
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from support.fake_triton import CLASSIFIER, FakeTriton, config, serving, tensors_config
from tritonclient.grpc.model_config_pb2 import ModelConfig

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


async def merged(change: dict[str, Any]) -> ModelConfig:
    """The configuration that Triton would be told, of a model that has been completed by it."""
    pets = config("pets", CLASSIFIER, output=[3], max_batch_size=16)
    pets.dynamic_batching.preferred_batch_size[:] = [4, 16]
    pets.version_policy.latest.num_versions = 1
    fake = FakeTriton(models={"pets": (pets, ["1"])})
    async with serving(fake) as url, TritonClient(url, clock=time.monotonic) as triton:
        wanted = await triton.merged_config("pets", change)
    return json_format.Parse(wanted.text, ModelConfig())


async def test_of_alternatives_the_one_that_a_change_has_takes_the_others_place() -> None:
    found = await merged({"version_policy": {"specific": {"versions": [1]}}, "sequence_batching": {}})
    assert found.version_policy.WhichOneof("policy_choice") == "specific"
    assert found.WhichOneof("scheduling_choice") == "sequence_batching"


async def test_a_change_with_two_alternatives_is_no_configuration() -> None:
    with pytest.raises(ValueError, match="policy_choice"):
        await merged({"version_policy": {"specific": {"versions": [1]}, "all": {}}})


@pytest.mark.parametrize(
    ("change", "sizes"),
    [
        ({"max_batch_size": 8}, [4]),
        ({"max_batch_size": 32}, [4, 16]),
        ({"max_batch_size": 8, "dynamic_batching": {"preferred_batch_size": [8, 16]}}, [8, 16]),
        ({"dynamic_batching": {"max_queue_delay_microseconds": 1}}, [4, 16]),
    ],
    ids=["smaller batches", "larger ones", "sizes of its own", "no size"],
)
async def test_preferred_sizes_that_a_change_does_not_name_shrink_with_the_batch(
    change: dict[str, Any], sizes: list[int]
) -> None:
    assert list((await merged(change)).dynamic_batching.preferred_batch_size) == sizes


async def test_batches_of_less_than_nothing_are_no_configuration() -> None:
    with pytest.raises(ValueError, match="max_batch_size is below 0"):
        await merged({"max_batch_size": -1})
