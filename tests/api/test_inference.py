"""/v1/classify and /v1/detect over HTTP, with a Triton whose answers are known."""

import asyncio
import base64
import time

import grpc
import httpx
import numpy as np
import pytest
from support.fake_triton import (
    CLASSIFIER,
    DETECTOR,
    FakeTriton,
    Request,
    Response,
    answer,
    config,
    failing,
    serving,
)
from support.pictures import encoded, photo
from support.serving import Serve, until_ready
from triton_gateway_client import AsyncClient
from triton_gateway_client import InputError as Failed

PNG = encoded(photo(20, 10))
JPEG = encoded(photo(20, 10), "JPEG")
BROKEN = PNG[:60]


def as_json(*images: bytes, **options: object) -> dict[str, object]:
    return {"inputs": [{"image": base64.b64encode(image).decode()} for image in images], **options}


async def test_a_raw_image_is_classified(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["id"] == answer.headers["x-request-id"]
    assert body["model"] == {"name": "pets", "version": "1", "variant": "stable"}
    assert body["results"] == [
        {
            "predictions": [
                {"class_id": 0, "label": "cat", "score": 0.5},
                {"class_id": 1, "label": "dog", "score": 0.3},
                {"class_id": 2, "label": "fox", "score": 0.2},
            ]
        }
    ]
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-model-variant"] == "stable"


@pytest.mark.parametrize("path", ["/classify", "/detect"])
async def test_the_short_paths_are_the_same_handlers(
    gateway: httpx.AsyncClient, triton: FakeTriton, path: str
) -> None:
    triton.infer = empty_scene if path == "/detect" else triton.infer
    short = await gateway.post(path, content=PNG, headers={"content-type": "image/png"})
    long = await gateway.post(f"/v1{path}", content=PNG, headers={"content-type": "image/png"})
    assert short.status_code == long.status_code == 200
    assert short.json()["results"] == long.json()["results"]


async def test_every_body_form_sends_triton_the_same_tensor(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    answers = [
        await gateway.post("/v1/classify?top_k=2", content=PNG, headers={"content-type": "image/png"}),
        await gateway.post("/v1/classify?top_k=2", files={"image": ("x.png", PNG, "image/png")}),
        await gateway.post("/v1/classify", json=as_json(PNG, top_k=2)),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert answers[0].json()["results"] == answers[1].json()["results"] == answers[2].json()["results"]
    assert len({request.raw_input_contents[0] for request in triton.requests}) == 1


async def test_several_images_become_one_batch_in_their_order(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = brightest
    images = [encoded(photo(8, 8).point(lambda _, level=level: level)) for level in (10, 120, 250)]  # type: ignore[misc]
    answer = await gateway.post("/v1/classify?top_k=1", files=[("image", image) for image in images])
    assert [result["predictions"][0]["label"] for result in answer.json()["results"]] == ["cat", "dog", "fox"]
    assert [list(request.inputs[0].shape) for request in triton.requests] == [[3, 3, 8, 8]]


async def test_more_images_than_the_model_takes_go_as_several_batches(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    answer = await gateway.post("/v1/classify", json=as_json(*[PNG] * 10))
    assert len(answer.json()["results"]) == 10
    assert sorted(request.inputs[0].shape[0] for request in triton.requests) == [2, 4, 4]


async def test_a_bad_image_in_a_batch_carries_its_own_error(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post("/v1/classify", json=as_json(PNG, BROKEN, JPEG))
    assert answer.status_code == 200
    good, bad, also_good = answer.json()["results"]
    assert good["predictions"]
    assert also_good["predictions"]
    assert bad["error"]["code"] == "image_truncated"
    assert bad["error"]["status"] == 422


async def test_a_batch_without_one_good_image_is_a_problem(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    answer = await gateway.post("/v1/classify", json=as_json(BROKEN, BROKEN))
    assert (answer.status_code, answer.json()["code"]) == (422, "image_truncated")
    assert triton.requests == []


async def test_a_pinned_version_answers_and_says_so(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    for reply in (
        await gateway.post("/v1/classify?version=2", content=PNG, headers={"content-type": "image/png"}),
        await gateway.post("/v1/classify", json=as_json(PNG, version="2")),
        await gateway.post("/v1/classify", json=as_json(PNG, version=2)),
    ):
        assert reply.json()["model"] == {"name": "pets", "version": "2", "variant": "pinned"}
    assert {request.model_version for request in triton.requests} == {"2"}


async def test_options_narrow_the_answer(gateway: httpx.AsyncClient) -> None:
    async def labels(query: str) -> list[str]:
        answer = await gateway.post(
            f"/v1/classify?{query}", content=PNG, headers={"content-type": "image/png"}
        )
        return [item["label"] for item in answer.json()["results"][0]["predictions"]]

    assert await labels("top_k=1") == ["cat"]
    assert await labels("min_score=0.25") == ["cat", "dog"]
    assert await labels("classes=fox,1") == ["dog", "fox"]


async def test_a_label_with_a_comma_is_asked_for_by_itself(triton: FakeTriton, serve: Serve) -> None:
    labels = "tabby, tabby cat\nseven, sept\nfox"
    triton.models["cats"] = (
        config("cats", {**CLASSIFIER, "gateway.labels": labels, "gateway.default": "false"}, output=[3]),
        ["1"],
    )
    async with serving(triton) as url, serve(url) as client:
        await until_ready(client)
        query = {"model": "cats", "classes": ["seven, sept", "tabby, tabby cat"]}
        answer = await client.post("/v1/classify", params=query, files={"image": PNG})
        assert [found["label"] for found in answer.json()["results"][0]["predictions"]] == [
            "tabby, tabby cat",
            "seven, sept",
        ]
        async with AsyncClient(str(client.base_url), client.headers["x-api-key"]) as python:
            for classes in (["tabby, tabby cat"], [0], ["tabby, tabby cat", 0]):
                (found,) = (await python.classify(PNG, model="cats", classes=classes)).results
                assert not isinstance(found, Failed)
                assert [each.label for each in found] == ["tabby, tabby cat"]


async def test_what_is_wrong_with_an_option_is_told_of_where_it_stood(gateway: httpx.AsyncClient) -> None:
    for wrong, pointer in (
        ({"classes": ["fox", "wolf"]}, "/classes/1"),
        ({"model": "finder"}, "/model"),
        ({"top_k": 0}, "/top_k"),
    ):
        in_body = await gateway.post("/v1/classify", json=as_json(PNG, **wrong))
        assert [error["pointer"] for error in in_body.json()["errors"]] == [pointer]
        for body in ({"content": PNG, "headers": {"content-type": "image/png"}}, {"files": {"image": PNG}}):
            in_query = await gateway.post("/v1/classify", params=wrong, **body)  # type: ignore[arg-type]
            assert [error["pointer"] for error in in_query.json()["errors"]] == [f"?{pointer.split('/')[1]}"]
            assert in_query.json()["errors"][0]["detail"] == in_body.json()["errors"][0]["detail"]


async def test_boxes_come_back_in_pixels_of_the_original(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    triton.infer = one_dog_on_the_left_half
    answer = await gateway.post("/v1/detect", content=PNG, headers={"content-type": "image/png"})
    assert answer.json()["results"] == [
        {
            "image": {"width": 20, "height": 10},
            "detections": [
                {
                    "class_id": 1,
                    "label": "dog",
                    "score": 0.9,
                    "box": {"x_min": 0.0, "y_min": 0.0, "x_max": 10.0, "y_max": 10.0},
                }
            ],
        }
    ]


async def test_the_request_id_is_echoed_and_reaches_triton(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    headers = {"content-type": "image/png", "x-request-id": "order-66_a"}
    answer = await gateway.post("/v1/classify", content=PNG, headers=headers)
    assert answer.headers["x-request-id"] == answer.json()["id"] == triton.requests[0].id == "order-66_a"


@pytest.mark.parametrize("bad", ["", "x" * 65, "a b", "ä", "a%0d%0ab"])
async def test_a_request_id_that_is_not_well_formed_is_replaced(gateway: httpx.AsyncClient, bad: str) -> None:
    answer = await gateway.get("/livez", headers={b"x-request-id": bad.encode()})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] != bad
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("code", "message", "status", "name"),
    [
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", 503, "upstream_overloaded"),
        (grpc.StatusCode.UNAVAILABLE, "Server is stopping", 503, "upstream_draining"),
        (
            grpc.StatusCode.NOT_FOUND,
            "Request for unknown model: 'pets' is not found",
            503,
            "model_unavailable",
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape", 502, "upstream_contract_violation"),
        (grpc.StatusCode.INTERNAL, "at /srv/secret/model.py", 502, "upstream_error"),
        (grpc.StatusCode.UNAUTHENTICATED, "", 502, "gateway_misconfigured"),
    ],
)
async def test_what_triton_refuses_is_told_in_our_words(
    gateway: httpx.AsyncClient,
    triton: FakeTriton,
    code: grpc.StatusCode,
    message: str,
    status: int,
    name: str,
) -> None:
    triton.infer = failing(code, message)
    answer = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (status, name)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_probabilities_that_do_not_add_up_are_not_an_answer(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    async def too_sure(request: Request, _: object) -> Response:
        return answer(request, np.ones((1, 3), np.float32))

    triton.infer = too_sure
    reply = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert (reply.status_code, reply.json()["code"]) == (502, "upstream_invalid_response")


async def test_an_empty_tensor_that_says_ok_is_not_an_answer(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    async def empty(request: Request, _: object) -> Response:
        response = answer(request, np.zeros((1, 3), np.float32))
        response.raw_output_contents[0] = b""
        return response

    triton.infer = empty
    reply = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert (reply.status_code, reply.json()["code"]) == (502, "upstream_invalid_response")


async def test_a_model_that_never_answers_costs_the_deadline_and_no_more(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    async def never(_: Request, __: object) -> Response:
        await asyncio.sleep(30)
        raise AssertionError("the deadline came first")

    triton.infer = never
    started = time.monotonic()
    reply = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert (reply.status_code, reply.json()["code"]) == (504, "deadline_exceeded")
    assert 1.8 < time.monotonic() - started < 2.5


async def test_a_client_that_leaves_does_not_cancel_the_call(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    finished = asyncio.Event()

    async def slow(request: Request, _: object) -> Response:
        await asyncio.sleep(0.5)
        finished.set()
        return answer(request, np.array([[0.5, 0.3, 0.2]], np.float32))

    triton.infer = slow
    with pytest.raises(httpx.ReadTimeout):
        await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"}, timeout=0.2)
    async with asyncio.timeout(2):
        await finished.wait()


async def brightest(request: Request, _: object) -> Response:
    """Class 0, 1 or 2 by the mean brightness of the image."""
    pixels = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(*request.inputs[0].shape)
    rows = np.eye(3, dtype=np.float32)[(pixels.mean(axis=(1, 2, 3)) // 86).astype(int)]
    return answer(request, rows)


async def empty_scene(request: Request, _: object) -> Response:
    return answer(request, np.zeros((1, 6, 5), np.float32))


async def one_dog_on_the_left_half(request: Request, _: object) -> Response:
    """The picture of 20 x 10 lies in rows 2 to 6 of the 8 x 8 input; its left half ends at column 4."""
    output = np.zeros((1, 6, 5), np.float32)
    output[0, :, 3] = [2, 4, 4, 4, 0.1, 0.9]
    return answer(request, output)


async def test_batches_of_which_each_finds_another_number_of_things_make_one_answer(
    triton: FakeTriton, serve: Serve
) -> None:
    metadata = {**DETECTOR, "gateway.boxes": "end2end"}
    triton.models = {"finder": (config("finder", metadata, output=[-1, 6], max_batch_size=2), ["1"])}

    async def infer(request: Request, _: object) -> Response:
        batch = request.inputs[0].shape[0]
        rows = np.zeros((batch, 3 * batch, 6), np.float32)
        rows[:, :batch] = [[1 + 3 * at, 3, 3 + 3 * at, 5, 0.9, 1] for at in range(batch)]
        return answer(request, rows)

    triton.infer = infer
    async with serving(triton) as url, serve(url) as client:
        await until_ready(client)
        told = await client.post("/v1/detect", json=as_json(PNG, PNG, PNG))
    assert told.status_code == 200
    assert [len(result["detections"]) for result in told.json()["results"]] == [2, 2, 1]
