"""What one Triton is asked beside the calls: one model that nobody can read takes no other with it."""

import time

from support.fake_triton import CLASSIFIER, FakeTriton, config, serving, tensors_config

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
