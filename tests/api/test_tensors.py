"""The Open Inference Protocol over HTTP, with a Triton whose answers are known."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from exposition import Exposition
from PIL import Image
from stack import Addresses, create_key
from support.fake_triton import (
    CLASSIFIER,
    FakeTriton,
    Request,
    Response,
    config,
    echoes,
    failing,
    prefers_the_first_class,
    serving,
    tensors_config,
)
from support.pictures import encoded
from support.serving import Serve, until_ready

INFER = "/v2/models/echo/infer"
PAIR = [("x", "FP32", [2]), ("words", "BYTES", [1])]


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton(infer=echoes)
    outputs = [(f"out_{name}", datatype, shape) for name, datatype, shape in PAIR]
    fake.models["echo"] = (tensors_config("echo", PAIR, outputs), ["1", "2"])
    one = ("x", "INT16", [2])
    fake.models["single"] = (tensors_config("single", [one], [("out_x", "INT16", [2])]), ["1"])
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1", "2"])
    takes_files = {
        "gateway.task": "image-classification",
        "gateway.input": "encoded",
        "gateway.labels": "cat\ndog\nfox",
        "gateway.activation": "none",
    }
    scores = ("scores", "FP32", [3])
    fake.models["files"] = (tensors_config("files", [("FILE", "BYTES", [1])], [scores], takes_files), ["1"])
    return fake


@pytest.fixture
async def gateway(triton: FakeTriton, serve: Serve) -> AsyncIterator[httpx.AsyncClient]:
    limits = {"max_tensor_bytes": 200_000, "max_body_bytes": 100_000}
    async with serving(triton) as url, serve(url, request_timeout=2, **limits) as client:
        await until_ready(client)
        yield client


@pytest.fixture(scope="module")
def plain_key(redis: Addresses) -> str:
    """A key that may not pin, and one unit in a thousand seconds, so that what a request takes is seen."""
    return create_key(redis, "counted", "infer", rate="1/1000:100")


@pytest.fixture(scope="module")
def pets_key(redis: Addresses) -> str:
    return create_key(redis, "pets", "infer:pets")


X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1]}
WORDS = {"name": "words", "datatype": "BYTES", "shape": [1, 1], "data": ["hëllo"]}


def body(**changes: Any) -> dict[str, Any]:
    return {"inputs": [X, WORDS], **changes}


def binary(**changes: Any) -> tuple[bytes, dict[str, str]]:
    """The same request with its tensors behind the JSON, and the header that says where they begin."""
    x = np.array([0.5, 1], np.float32).tobytes()
    words = b"\x06\0\0\0" + "hëllo".encode()
    inputs = [
        {key: value for key, value in tensor.items() if key != "data"}
        | {"parameters": {"binary_data_size": len(data)}}
        for tensor, data in ((X, x), (WORDS, words))
    ]
    header = json.dumps({"inputs": inputs, **changes}).encode()
    return header + x + words, {"inference-header-content-length": str(len(header))}


def split(reply: httpx.Response) -> tuple[dict[str, Any], bytes]:
    at = int(reply.headers["inference-header-content-length"])
    return json.loads(reply.content[:at]), reply.content[at:]


async def test_tensors_in_json_come_back_in_json(gateway: httpx.AsyncClient) -> None:
    reply = await gateway.post(INFER, json=body(id="42"))
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == {
        "id": "42",
        "model_name": "echo",
        "model_version": "2",
        "outputs": [
            {"name": "out_x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.0]},
            {"name": "out_words", "datatype": "BYTES", "shape": [1, 1], "data": ["hëllo"]},
        ],
    }
    assert (reply.headers["x-model-version"], reply.headers["x-model-variant"]) == ("2", "stable")
    assert reply.headers["priority"] == "u=1"
    assert "ratelimit" in reply.headers


async def test_both_forms_reach_triton_as_the_same_bytes(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    content, headers = binary()
    replies = [
        await gateway.post(INFER, json=body()),
        await gateway.post(INFER, content=content, headers=headers),
    ]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].json() == replies[1].json()
    first, second = (list(request.raw_input_contents) for request in triton.requests)
    assert first == second
    assert {request.id for request in triton.requests} == {reply.headers["x-request-id"] for reply in replies}


async def test_a_binary_answer_says_where_its_tensors_begin(gateway: httpx.AsyncClient) -> None:
    content, headers = binary(parameters={"binary_data_output": True})
    reply = await gateway.post(INFER, content=content, headers=headers)
    assert reply.headers["content-type"] == "application/octet-stream"
    header, behind = split(reply)
    assert [output["parameters"] for output in header["outputs"]] == [
        {"binary_data_size": 8},
        {"binary_data_size": 10},
    ]
    assert behind == np.array([0.5, 1], np.float32).tobytes() + b"\x06\0\0\0" + "hëllo".encode()


async def test_outputs_come_as_and_in_the_order_that_is_asked(gateway: httpx.AsyncClient) -> None:
    outputs = [{"name": "out_words"}, {"name": "out_x", "parameters": {"binary_data": True}}]
    header, behind = split(await gateway.post(INFER, json=body(outputs=outputs)))
    words, x = header["outputs"]
    assert (words["name"], words["data"]) == ("out_words", ["hëllo"])
    assert (x["name"], behind) == ("out_x", np.array([0.5, 1], np.float32).tobytes())


async def test_an_empty_list_of_outputs_asks_for_all(gateway: httpx.AsyncClient) -> None:
    reply = await gateway.post(INFER, json=body(outputs=[]))
    assert [output["name"] for output in reply.json()["outputs"]] == ["out_x", "out_words"]


async def test_a_body_without_json_is_the_only_input(gateway: httpx.AsyncClient) -> None:
    reply = await gateway.post(
        "/v2/models/single/infer", content=b"\1\0\2\0", headers={"inference-header-content-length": "0"}
    )
    header, behind = split(reply)
    assert header["outputs"][0]["shape"] == [1, 2]
    assert behind == b"\1\0\2\0"


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_both_sides_may_compress(gateway: httpx.AsyncClient, coding: str, pack: Any) -> None:
    content, headers = binary(parameters={"binary_data_output": True})
    asked = {**headers, "content-encoding": coding, "accept-encoding": coding}
    reply = await gateway.post(INFER, content=pack(content), headers=asked)
    assert (reply.status_code, reply.headers["content-encoding"]) == (200, coding)
    header, behind = split(reply)  # which httpx has unpacked
    assert len(behind) == sum(output["parameters"]["binary_data_size"] for output in header["outputs"])


@pytest.mark.parametrize("accept", ["", "identity", "br", "gzip;q=0", "gzip, deflate, br"])
async def test_nothing_is_compressed_that_nobody_asks_for_or_that_does_not_pay(
    gateway: httpx.AsyncClient, accept: str
) -> None:
    reply = await gateway.post(INFER, json=body(), headers={"accept-encoding": accept})
    assert reply.status_code == 200
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize(
    ("coding", "content", "status"),
    [
        pytest.param("br", b"x", 415, id="a coding that is not served"),
        pytest.param("gzip, gzip", b"x", 415, id="two codings"),
        pytest.param("gzip", b"no gzip at all", 400, id="another format than it says"),
        pytest.param("gzip", gzip.compress(b"{}")[:-4], 400, id="cut short"),
        pytest.param("gzip", gzip.compress(b"{}") * 2, 400, id="two members"),
        pytest.param("deflate", gzip.compress(b"{}"), 400, id="gzip called deflate"),
        pytest.param("gzip", gzip.compress(bytes(50_000_000)), 413, id="a bomb"),
        pytest.param("deflate", zlib.compress(bytes(200_001)), 413, id="one byte too many"),
    ],
)
async def test_what_unpacks_to_nothing_or_to_too_much_is_refused(
    gateway: httpx.AsyncClient, coding: str, content: bytes, status: int
) -> None:
    reply = await gateway.post(INFER, content=content, headers={"content-encoding": coding})
    assert (reply.status_code, set(reply.json())) == (status, {"error"})


async def test_json_has_a_smaller_bound_than_tensors(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    for path in (INFER, "/v2/models/echo/generate", "/v2/models/echo/generate_stream"):
        reply = await gateway.post(path, content=b" " * 100_001)
        assert reply.status_code == 413
        assert "binary" in reply.json()["error"]
    triton.models["wide"] = (
        tensors_config("wide", [("x", "UINT8", [150_000])], [("out_x", "UINT8", [150_000])]),
        ["1"],
    )
    while (await gateway.get("/v2/models/wide/ready")).status_code != 200:
        await asyncio.sleep(0.02)
    raw = {"inference-header-content-length": "0"}
    reply = await gateway.post("/v2/models/wide/infer", content=bytes(150_000), headers=raw)
    assert reply.status_code == 200
    assert (
        await gateway.post("/v2/models/wide/infer", content=bytes(200_001), headers=raw)
    ).status_code == 413


WRONG: dict[str, dict[str, Any]] = {
    "an input that is missing": {"inputs": [X]},
    "an input that nobody knows": {"inputs": [X, WORDS, {**X, "name": "z"}]},
    "another datatype": {"inputs": [{**X, "datatype": "FP64"}, WORDS]},
    "another shape": {"inputs": [{**X, "shape": [1, 3], "data": [1, 2, 3]}, WORDS]},
    "batches of different size": {"inputs": [{**X, "shape": [2, 2], "data": [1, 2, 3, 4]}, WORDS]},
    "an output that nobody knows": body(outputs=[{"name": "y"}]),
    "no inputs": {},
    "shared memory": body(outputs=[{"name": "out_x", "parameters": {"shared_memory_region": "r"}}]),
    "a sequence": body(parameters={"sequence_id": 1, "sequence_start": True}),
}


@pytest.mark.parametrize("document", WRONG.values(), ids=WRONG)
async def test_a_misfit_is_400_and_never_reaches_triton(
    gateway: httpx.AsyncClient, triton: FakeTriton, document: dict[str, Any]
) -> None:
    reply = await gateway.post(INFER, json=document)
    assert (reply.status_code, set(reply.json())) == (400, {"error"})
    assert reply.headers["content-type"] == "application/json"
    assert triton.requests == []


@pytest.mark.parametrize("length", ["-1", "1.5", "99999999", "x", "9" * 5000])
async def test_a_wrong_length_of_the_json_is_400(gateway: httpx.AsyncClient, length: str) -> None:
    reply = await gateway.post(INFER, json=body(), headers={"inference-header-content-length": length})
    assert reply.status_code in (400, 413)
    assert set(reply.json()) == {"error"}


async def test_what_only_triton_can_refuse_is_the_callers_fault_too(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = failing(grpc.StatusCode.INVALID_ARGUMENT, "/models/echo/1: no such thing")
    reply = await gateway.post(INFER, json=body())
    assert reply.status_code == 400
    assert "The model refuses these tensors: …: no such thing" in reply.json()["error"]


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        (grpc.StatusCode.INTERNAL, "the model at /models/echo raised", 502),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", 504),
    ],
)
async def test_tritons_failures_keep_their_status_and_their_words_stay_here(
    gateway: httpx.AsyncClient, triton: FakeTriton, code: grpc.StatusCode, message: str, status: int
) -> None:
    triton.infer = failing(code, message)
    reply = await gateway.post(INFER, json=body())
    assert (reply.status_code, set(reply.json())) == (status, {"error"})
    assert message not in reply.text


async def empty(request: Request, _: object) -> Response:
    """OK, and tensors without their bytes, as a Triton with a wrong numpy answers."""
    response = Response(model_name=request.model_name, model_version=request.model_version)
    for name, datatype, _shape in PAIR:
        response.outputs.add(name=f"out_{name}", datatype=datatype, shape=[1, 2])
        response.raw_output_contents.append(b"")
    return response


async def test_an_answer_that_is_none_is_502(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    triton.infer = empty
    assert (await gateway.post(INFER, json=body())).status_code == 502


async def test_nan_comes_as_bytes_and_not_as_json(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    nan = np.array([np.nan, 1], np.float32).tobytes()
    content, headers = binary()
    content = content.replace(np.array([0.5, 1], np.float32).tobytes(), nan)
    reply = await gateway.post(INFER, content=content, headers=headers)
    assert reply.status_code == 400
    assert "binary_data" in reply.json()["error"]
    content, headers = binary(parameters={"binary_data_output": True})
    content = content.replace(np.array([0.5, 1], np.float32).tobytes(), nan)
    _, behind = split(await gateway.post(INFER, content=content, headers=headers))
    assert behind.startswith(nan)


async def test_classes_are_asked_of_triton(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    async def best(request: Request, _: object) -> Response:
        assert request.outputs[0].parameters["classification"].int64_param == 2
        response = Response(model_name="pets", model_version="1")
        response.outputs.add(name="scores", datatype="BYTES", shape=[1, 2])
        response.raw_output_contents.append(b"\x09\0\0\0000.5:0:cat\x09\0\0\0000.3:1:dog")
        return response

    triton.infer = best
    image = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 8, 8], "data": [0] * 192}
    wanted = {"name": "scores", "parameters": {"classification": 2}}
    reply = await gateway.post("/v2/models/pets/infer", json={"inputs": [image], "outputs": [wanted]})
    assert reply.json()["outputs"][0]["data"] == ["0.5:0:cat", "0.3:1:dog"]


async def test_a_version_in_the_path_is_a_pin(
    gateway: httpx.AsyncClient, triton: FakeTriton, plain_key: str
) -> None:
    pinned = "/v2/models/echo/versions/1/infer"
    reply = await gateway.post(pinned, json=body())
    assert (reply.json()["model_version"], reply.headers["x-model-variant"]) == ("1", "pinned")
    by_header = await gateway.post(INFER, json=body(), headers={"x-model-version": "1"})
    assert by_header.json()["model_version"] == "1"
    for path, headers, status in (
        (pinned, {"x-api-key": plain_key}, 403),
        (pinned, {"x-model-version": "2"}, 400),
        ("/v2/models/echo/versions/7/infer", {}, 404),
        ("/v2/models/echo/versions/latest/infer", {}, 404),
    ):
        reply = await gateway.post(path, json=body(), headers=headers)
        assert (reply.status_code, set(reply.json())) == (status, {"error"})


async def test_a_model_that_is_not_the_callers_is_as_if_it_were_not_there(
    gateway: httpx.AsyncClient, pets_key: str
) -> None:
    key = {"x-api-key": pets_key}
    refused = [
        await gateway.request(method, path.format(model), headers=key, json=body())
        for model in ("echo", "nothing")
        for method, path in (
            ("POST", "/v2/models/{}/infer"),
            ("GET", "/v2/models/{}"),
            ("GET", "/v2/models/{}/ready"),
            ("GET", "/v2/models/{}/config"),
            ("GET", "/v2/models/{}/stats"),
        )
    ]
    assert {(reply.status_code, reply.text) for reply in refused} == {
        (404, '{"error":"There is no model of this name that you may use."}')
    }
    stats = (await gateway.get("/v2/models/stats", headers=key)).json()["model_stats"]
    assert [entry["name"] for entry in stats] == ["pets"]


def left(reply: httpx.Response) -> int:
    return int(reply.headers["ratelimit"].split("r=")[1].split(";")[0])


async def test_each_row_and_each_megapixel_of_elements_costs_a_unit(
    gateway: httpx.AsyncClient, plain_key: str
) -> None:
    key = {"x-api-key": plain_key}
    before = left(await gateway.get("/v2", headers=key))
    inputs = [{**X, "shape": [3, 2], "data": [1] * 6}, {**WORDS, "shape": [3, 1], "data": ["a"] * 3}]
    reply = await gateway.post(INFER, json={"inputs": inputs}, headers=key)
    assert before - left(reply) == 3


def packed(*files: bytes) -> tuple[bytes, dict[str, str]]:
    """A request of these strings as bytes, and the header that says where they begin."""
    data = b"".join(len(file).to_bytes(4, "little") + file for file in files)
    tensor = {
        "name": "FILE",
        "datatype": "BYTES",
        "shape": [len(files), 1],
        "parameters": {"binary_data_size": len(data)},
    }
    header = json.dumps({"inputs": [tensor]}).encode()
    return header + data, {"inference-header-content-length": str(len(header))}


def blank(width: int, height: int, kind: str = "PNG") -> bytes:
    return encoded(Image.new("1", (width, height)), kind)


async def test_a_picture_for_a_model_that_takes_its_file_costs_the_same_as_on_v1(
    gateway: httpx.AsyncClient, triton: FakeTriton, plain_key: str
) -> None:
    triton.infer = prefers_the_first_class
    key = {"x-api-key": plain_key}
    picture = blank(3000, 1500)
    raw = {"inference-header-content-length": "0"}

    async def spent(path: str, content: bytes, headers: dict[str, str]) -> int:
        before = left(await gateway.get("/v2", headers=key))
        reply = await gateway.post(path, content=content, headers={**headers, **key})
        assert reply.status_code == 200, reply.text
        return before - left(reply)

    assert await spent("/v1/classify?model=files", picture, {"content-type": "image/png"}) == 5
    assert await spent("/v2/models/files/infer", picture, raw) == 5
    assert await spent("/v2/models/files/infer", *packed(picture, b"no picture", picture)) == 12
    assert await spent("/v2/models/files/infer", b"no picture", raw) == 1
    assert await spent("/v2/models/files/infer", bytes(150_000), raw) == 1


@pytest.mark.parametrize(
    ("picture", "status", "code"),
    [
        pytest.param(blank(8000, 6000), 413, "image_too_large", id="too many pixels"),
        pytest.param(blank(9000, 1, "JPEG"), 413, "image_too_large", id="a side that is too long"),
        pytest.param(blank(8, 8)[:20], 400, "image_undecodable", id="a size that is not told"),
    ],
)
async def test_a_picture_beyond_the_bounds_does_not_reach_a_model_that_takes_its_file(
    gateway: httpx.AsyncClient, triton: FakeTriton, picture: bytes, status: int, code: str
) -> None:
    content, headers = packed(blank(8, 8), picture)
    reply = await gateway.post("/v2/models/files/infer", content=content, headers=headers)
    assert (reply.status_code, set(reply.json())) == (status, {"error"})
    assert triton.requests == []
    counted = Exposition((await gateway.get("/metrics")).text)
    assert counted.total("gateway_problems_total", problem=code) == 1


@pytest.mark.parametrize(("level", "applied"), [(0, 1), (1, 1), (2, 2), (3, 3), (900, 3)])
async def test_tritons_priority_level_asks_for_a_class(
    gateway: httpx.AsyncClient, triton: FakeTriton, level: int, applied: int
) -> None:
    await gateway.post(INFER, json=body(parameters={"priority": level}))
    assert triton.requests[-1].parameters["priority"].uint64_param == applied


async def test_the_models_own_parameters_reach_it_and_tritons_do_not(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await gateway.post(INFER, json=body(parameters={"temperature": 0.5, "priority": 1, "timeout": 900_000}))
    found = triton.requests[-1].parameters
    assert set(found) == {"temperature", "priority", "timeout"}
    assert found["temperature"].double_param == 0.5
    assert 0 < found["timeout"].int64_param < 900_000


async def test_the_timeout_in_a_request_is_a_deadline(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    async def slow(request: Request, context: Any) -> Response:
        await asyncio.sleep(1)
        return await echoes(request, context)

    triton.infer = slow
    reply = await gateway.post(INFER, json=body(parameters={"timeout": 200_000}))
    assert (reply.status_code, set(reply.json())) == (504, {"error"})


async def test_health_needs_no_key_and_says_it_in_the_protocols_words(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    async with httpx.AsyncClient(base_url=gateway.base_url, trust_env=False) as stranger:
        assert (await stranger.get("/v2/health/live")).json() == {"live": True}
        assert (await stranger.get("/v2/health/ready")).json() == {"ready": True}
        for path in ("/v2", "/v2/models/echo", "/v2/models/echo/ready"):
            reply = await stranger.get(path)
            assert (reply.status_code, set(reply.json())) == (401, {"error"})
            assert reply.headers["www-authenticate"].startswith("Bearer")
        triton.models.clear()
        while (reply := await stranger.get("/v2/health/ready")).status_code == 200:
            await asyncio.sleep(0.02)
        assert (reply.status_code, reply.json()) == (503, {"ready": False})


async def test_what_is_said_of_the_server_and_of_a_model(gateway: httpx.AsyncClient) -> None:
    server = (await gateway.get("/v2")).json()
    assert {"name", "version", "extensions"} == set(server)
    assert "binary_tensor_data" in server["extensions"]
    assert (await gateway.get("/v2/models/echo")).json() == {
        "name": "echo",
        "versions": ["1", "2"],
        "platform": "fake",
        "inputs": [
            {"name": "x", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "words", "datatype": "BYTES", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "out_x", "datatype": "FP32", "shape": [-1, 2]},
            {"name": "out_words", "datatype": "BYTES", "shape": [-1, 1]},
        ],
    }
    assert (await gateway.get("/v2/models/echo/versions/2/ready")).json() == {"name": "echo", "ready": True}
    assert (await gateway.get("/v2/models/echo/versions/3/ready")).status_code == 404
    (stats,) = (await gateway.get("/v2/models/echo/stats")).json()["model_stats"]
    assert (stats["name"], stats["inference_count"]) == ("echo", 7)


async def test_a_configuration_comes_without_what_operators_wrote_for_themselves(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.models["echo"][0].parameters["PASSWORD"].string_value = "hunter2"
    triton.models["echo"][0].default_model_filename = "/srv/models/secret.onnx"
    triton.models["echo"][0].output[0].label_filename = "secret.txt"
    state = triton.models["echo"][0].sequence_batching.state.add(input_name="kept")
    state.initial_state.add(data_file="secret.bin")
    reply = await gateway.get("/v2/models/echo/config")
    assert reply.json()["max_batch_size"] == 4
    assert reply.json()["input"][0]["data_type"] == "TYPE_FP32"
    assert reply.json()["sequence_batching"]["state"][0]["input_name"] == "kept"
    assert "hunter2" not in reply.text
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models", 404),
        ("POST", "/v2/repository/index", 404),
        ("POST", "/v2/repository/models/echo/load", 404),
        ("GET", "/v2/systemsharedmemory/status", 404),
        ("GET", "/v2/logging", 404),
        ("GET", "/v2/models/echo/trace/setting", 404),
        ("GET", "/v2/models/echo/infer", 405),
        ("DELETE", "/v2", 405),
    ],
)
async def test_every_refusal_is_an_error_of_the_protocol(
    gateway: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    reply = await gateway.request(method, path)
    assert (reply.status_code, set(reply.json())) == (status, {"error"})
    assert reply.headers["content-type"] == "application/json"
    assert ("allow" in reply.headers) == (status == 405)


async def test_a_path_that_only_looks_like_the_protocols_has_problems(gateway: httpx.AsyncClient) -> None:
    assert (await gateway.get("/v20")).json()["code"] == "not_found"


async def test_a_model_without_a_task_is_for_tensors_only(gateway: httpx.AsyncClient) -> None:
    names = [model["name"] for model in (await gateway.get("/v1/models")).json()["models"]]
    assert names == ["files", "pets"]
    reply = await gateway.post("/v1/classify?model=echo", content=b"x", headers={"content-type": "image/png"})
    assert (reply.status_code, reply.json()["code"]) == (422, "validation_failed")
    assert "no gateway.task: it is called on /v2" in reply.json()["detail"]


async def test_a_model_whose_process_died_is_not_ready_while_it_is_left_alone(
    triton: FakeTriton, gateway: httpx.AsyncClient
) -> None:
    """Triton itself goes on saying that it is."""
    triton.infer = failing(grpc.StatusCode.INTERNAL, "Stub process 'pets_1_0' is not healthy.")
    picture = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 8, 8], "data": [0] * 192}
    answers = [await gateway.get("/v2/models/pets/versions/1/ready")]
    await gateway.post("/v2/models/pets/infer", json={"inputs": [picture]})
    answers += [await gateway.get("/v2/models/pets/versions/1/ready")]
    answers += [await gateway.get("/v2/models/pets/versions/2/ready")]
    assert [answer.status_code for answer in answers] == [200, 503, 200]
    unpinned = await gateway.get("/v2/models/pets/ready")
    assert unpinned.status_code == 503, "who asks for no version is sent to the first"
