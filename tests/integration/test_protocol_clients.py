"""Clients of the Open Inference Protocol, unmodified but for a key, through the gateway to a real Triton."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import tritonclient.http.aio
from processes import RunningStack, running_stack
from support.pictures import held_out_digits
from support.repositories import add_model
from tritonclient.utils import InferenceServerException

MODEL = "digits_classifier"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack whose only model gives everything back, in every datatype, and names no task."""
    repository = tmp_path_factory.mktemp("models")
    add_model(repository, "echo", ["1"])
    with running_stack(repository) as parts:
        yield parts


class Client(tritonclient.http.InferenceServerClient):  # type: ignore[misc]  # published without types
    """The client as it is, with the key on every call as `headers`, its own parameter for that."""

    def __init__(self, parts: RunningStack) -> None:
        super().__init__(parts.url.removeprefix("http://"))
        self.key = {"X-API-Key": parts.key}


@pytest.fixture
def triton(stack: RunningStack) -> Iterator[Client]:
    with Client(stack) as client:
        yield client


@pytest.fixture
def echoing(echo: RunningStack) -> Iterator[Client]:
    with Client(echo) as client:
        yield client


def digits(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Held-out digits as the network takes them."""
    pictures = [image.resize((32, 32)) for image, _ in held_out_digits()[:count]]
    return np.stack([np.asarray(picture, np.uint8)[None] for picture in pictures])


def input_of(array: Any, name: str = "images", datatype: str = "UINT8", *, binary: bool = True) -> Any:
    tensor = tritonclient.http.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def direct(stack: RunningStack, images: Any, version: str) -> Any:
    """What Triton itself answers, over gRPC."""
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{stack.at.triton_grpc_port}") as server:
        tensor = tritonclient.grpc.InferInput("images", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        return server.infer(MODEL, [tensor], model_version=version).as_numpy("logits")


@pytest.mark.parametrize("binary_in", [True, False], ids=["bytes in", "JSON in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["bytes out", "JSON out"])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_the_client_gets_what_triton_answers(
    stack: RunningStack, triton: Client, binary_in: bool, binary_out: bool, coding: str | None
) -> None:
    images = digits(3)
    result = triton.infer(
        MODEL,
        [input_of(images, binary=binary_in)],
        outputs=[tritonclient.http.InferRequestedOutput("logits", binary_data=binary_out)],
        headers=triton.key,
        request_id="42",
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert np.allclose(result.as_numpy("logits"), direct(stack, images, "1"), atol=1e-5)
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", MODEL, "1")


def test_a_version_is_a_pin_and_none_is_routed(stack: RunningStack, triton: Client) -> None:
    images = digits(1)
    for version, answers in (("", "1"), ("1", "1"), ("2", "2")):
        result = triton.infer(MODEL, [input_of(images)], model_version=version, headers=triton.key)
        assert result.get_response()["model_version"] == answers
        assert np.allclose(result.as_numpy("logits"), direct(stack, images, answers), atol=1e-5)


def test_classes_carry_the_labels_that_triton_has(stack: RunningStack, triton: Client) -> None:
    images = digits(2)
    output = tritonclient.http.InferRequestedOutput("logits", class_count=2)
    result = triton.infer(MODEL, [input_of(images)], outputs=[output], headers=triton.key)
    found = result.as_numpy("logits")
    assert found.shape == (2, 2)
    best = [int(row[0].decode().split(":")[1]) for row in found]
    assert best == direct(stack, images, "1").argmax(axis=1).tolist()


def test_a_body_without_json_is_one_image(stack: RunningStack, triton: Client) -> None:
    images = digits(1)
    reply = httpx.post(
        f"{stack.url}/v2/models/{MODEL}/infer",
        content=images.tobytes(),
        headers={**triton.key, "Inference-Header-Content-Length": "0"},
        trust_env=False,
    )
    header = int(reply.headers["inference-header-content-length"])
    logits = np.frombuffer(reply.content[header:], np.float32)
    assert np.allclose(logits, direct(stack, images, "1")[0], atol=1e-5)


def test_the_client_learns_of_the_server_and_its_models_what_triton_tells(
    stack: RunningStack, triton: Client
) -> None:
    at_triton = f"127.0.0.1:{stack.at.triton_http_port}"
    with tritonclient.http.InferenceServerClient(at_triton) as itself:
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready(MODEL, headers=triton.key)
        assert triton.is_model_ready(MODEL, "2", headers=triton.key)
        assert not triton.is_model_ready(MODEL, "7", headers=triton.key)
        assert not triton.is_model_ready("nothing", headers=triton.key)
        assert "binary_tensor_data" in triton.get_server_metadata(headers=triton.key)["extensions"]
        metadata = triton.get_model_metadata(MODEL, headers=triton.key)
        assert metadata == itself.get_model_metadata(MODEL)
        config = triton.get_model_config(MODEL, headers=triton.key)
        whole = itself.get_model_config(MODEL)
        for output in whole["output"]:
            output["label_filename"] = ""
        assert config.items() <= whole.items()
        assert {"input", "output", "max_batch_size", "dynamic_batching"} <= config.keys()
        statistics = triton.get_inference_statistics(MODEL, "2", headers=triton.key)
        (entry,) = statistics["model_stats"]
        (its,) = itself.get_inference_statistics(MODEL, "2")["model_stats"]
        assert entry.keys() == its.keys()
        everything = triton.get_inference_statistics(headers=triton.key)["model_stats"]
        assert len(everything) == len(itself.get_inference_statistics()["model_stats"]) > 2


@pytest.mark.parametrize(
    ("model", "version", "shape", "said"),
    [
        ("nothing", "", (1, 1, 32, 32), "no model"),
        (MODEL, "9", (1, 1, 32, 32), "not loaded"),
        (MODEL, "", (1, 3, 32, 32), "shape"),
        (MODEL, "", (17, 1, 32, 32), "at most 16"),
    ],
)
def test_the_client_understands_a_refusal(
    triton: Client, model: str, version: str, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(InferenceServerException, match=said):
        triton.infer(model, [input_of(np.zeros(shape, np.uint8))], model_version=version, headers=triton.key)


def test_without_a_key_the_client_is_told_so(triton: Client) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, [input_of(digits(1))])
    assert caught.value.status() == "401"


def test_what_is_not_for_callers_is_refused_in_a_way_that_the_client_understands(triton: Client) -> None:
    for refused in (
        triton.get_model_repository_index,
        triton.get_system_shared_memory_status,
        triton.get_log_settings,
    ):
        with pytest.raises(InferenceServerException) as caught:
            refused(headers=triton.key)
        assert caught.value.status() == "404"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_the_asynchronous_client_too(stack: RunningStack, binary: bool, coding: str | None) -> None:
    images, key = digits(2), {"Authorization": f"Bearer {stack.key}"}
    async with tritonclient.http.aio.InferenceServerClient(stack.url.removeprefix("http://")) as client:
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL, headers=key)
        result, again = await asyncio.gather(
            *(
                client.infer(
                    MODEL,
                    [input_of(images, binary=binary)],
                    outputs=[tritonclient.http.InferRequestedOutput("logits", binary_data=binary)],
                    headers=key,
                    request_compression_algorithm=coding,
                    response_compression_algorithm=coding,
                )
                for _ in range(2)
            )
        )
    expected = direct(stack, images, "1")
    assert np.allclose(result.as_numpy("logits"), expected, atol=1e-5)
    assert np.allclose(again.as_numpy("logits"), expected, atol=1e-5)


VALUES = {
    "BOOL": np.array([[True, False]]),
    "FP16": np.array([[0.1, 65504, -0.0]], np.float16),
    "FP32": np.array([[0.1, -3.4e38], [1e-45, 7]], np.float32),
    "FP64": np.array([[0.1, 1.7e308]], np.float64),
    "BYTES": np.array([["a", "", "hëllo \N{SNOWMAN}"]], np.object_),
    **{
        name: np.array([[np.iinfo(name.lower()).min, np.iinfo(name.lower()).max, 1]], name.lower())
        for name in ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")
    },
}


def echoed(client: Client, tensor: Any, *, binary: bool, **options: Any) -> Any:
    output = tritonclient.http.InferRequestedOutput(f"out_{tensor.name()}", binary_data=binary)
    result = client.infer("echo", [tensor], outputs=[output], headers=client.key, **options)
    return result.as_numpy(f"out_{tensor.name()}")


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_goes_through_as_bytes(echoing: Client, datatype: str) -> None:
    values = VALUES[datatype]
    found = echoed(echoing, input_of(values, datatype, datatype), binary=True)
    as_sent = values if datatype != "BYTES" else np.char.encode(values.astype(str), "utf-8")
    assert np.array_equal(found, as_sent)
    assert found.shape == values.shape


@pytest.mark.parametrize(
    "datatype", sorted(VALUES.keys() - {"FP16"})
)  # which the client cannot write as JSON
def test_every_datatype_goes_through_as_json(echoing: Client, datatype: str) -> None:
    values = VALUES[datatype]
    found = echoed(echoing, input_of(values, datatype, datatype, binary=False), binary=False)
    as_text = found.astype(str) if datatype == "BYTES" else found
    assert np.array_equal(as_text, values.astype(str) if datatype == "BYTES" else values)


def test_bytes_that_are_no_text_go_through(echoing: Client) -> None:
    values = np.array([[b"\xff\x00", bytes(70_000)]], np.object_)
    assert np.array_equal(echoed(echoing, input_of(values, "BYTES", "BYTES"), binary=True), values)


def test_brain_floats_go_through_as_the_bytes_they_are(echo: RunningStack) -> None:
    halves = np.array([0x3F00, 0xC040, 0x7FC1], np.uint16).tobytes()  # 0.5, -3 and a NaN of its own
    one = {"name": "BF16", "datatype": "BF16", "shape": [1, 3], "parameters": {"binary_data_size": 6}}
    outputs = [{"name": "out_BF16", "parameters": {"binary_data": True}}]
    header = json.dumps({"inputs": [one], "outputs": outputs}).encode()
    length = {"inference-header-content-length": str(len(header))}
    with echo.client() as http:
        reply = http.post("/v2/models/echo/infer", content=header + halves, headers=length)
    assert reply.content[int(reply.headers["inference-header-content-length"]) :] == halves


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_go_through_as_json_which_triton_itself_has_no_way_to(
    echo: RunningStack, datatype: str
) -> None:
    one = {"name": datatype, "datatype": datatype, "shape": [1, 2], "data": [0.5, -3]}
    with echo.client() as http:
        reply = http.post(
            "/v2/models/echo/infer", json={"inputs": [one], "outputs": [{"name": f"out_{datatype}"}]}
        )
    assert reply.json()["outputs"][0]["data"] == [0.5, -3.0]


def test_a_large_tensor_comes_back_the_same(echoing: Client) -> None:
    values = np.random.default_rng(0).random((640, 1920), np.float32)  # 4.9 MB
    assert np.array_equal(echoed(echoing, input_of(values, "FP32", "FP32"), binary=True), values)
    assert np.array_equal(
        echoed(
            echoing,
            input_of(values, "FP32", "FP32"),
            binary=True,
            request_compression_algorithm="gzip",
            response_compression_algorithm="deflate",
        ),
        values,
    )


def test_the_models_own_parameters_reach_its_code(echoing: Client) -> None:
    output = tritonclient.http.InferRequestedOutput("parameters", binary_data=False)
    result = echoing.infer(
        "echo",
        [input_of(VALUES["BOOL"], "BOOL", "BOOL")],
        outputs=[output],
        headers=echoing.key,
        parameters={"mode": "fast", "steps": 3, "exact": True},
        priority=1,
        timeout=2_000_000,
    )
    (found,) = result.as_numpy("parameters").tolist()
    assert json.loads(found) == {"mode": "fast", "steps": 3, "exact": True}
