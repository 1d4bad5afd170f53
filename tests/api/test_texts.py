"""Texts on /v1/classify: what reaches Triton, which model answers, and what is refused."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import httpx
import numpy as np
import pytest
from stack import Addresses, create_key
from support.cards import TOKENS
from support.fake_triton import (
    CLASSIFIER,
    READER,
    FakeTriton,
    Request,
    Response,
    answer,
    config,
    serving,
    tensors_config,
)
from support.pictures import encoded, photo
from support.serving import Serve, until_ready
from support.vocabulary import CLS, ONE, PAD, SEP, THREE, TWO, UNK, save

PNG = encoded(photo(20, 10))


async def dislikes_whatever_is_unknown(request: Request, _: grpc.aio.ServicerContext) -> Response:
    """Certain of each class by whether any of a text's tokens is unknown; pictures are the first of three."""
    if request.model_name == "pets":
        return answer(
            request, np.tile(np.array([0.5, 0.3, 0.2], np.float32), (request.inputs[0].shape[0], 1))
        )
    bad = (tensors(request)["input_ids"] == UNK).any(axis=1)
    return answer(request, np.stack([~bad, bad], axis=1).astype(np.float32))


def tensors(request: Request) -> dict[str, "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"]:
    return {
        tensor.name: np.frombuffer(raw, np.int64).reshape(tensor.shape)
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton(infer=dislikes_whatever_is_unknown)
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1"])
    fake.models["mood"] = (
        tensors_config(
            "mood", [(spec.name, "INT64", [-1]) for spec in TOKENS], [("scores", "FP32", [2])], READER
        ),
        ["1"],
    )
    return fake


@pytest.fixture
async def gateway(triton: FakeTriton, serve: Serve, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    save(tmp_path, "mood")
    async with serving(triton) as url, serve(url, model_repository=tmp_path) as client:
        await until_ready(client)
        yield client


def texts(*values: str, **options: object) -> dict[str, object]:
    return {"inputs": [{"text": value} for value in values], **options}


async def test_a_text_is_classified_by_the_model_for_texts(gateway: httpx.AsyncClient) -> None:
    reply = await gateway.post("/v1/classify", json=texts("one two"))
    assert reply.status_code == 200
    body = reply.json()
    assert body["model"] == {"name": "mood", "version": "1", "variant": "stable"}
    assert body["results"] == [
        {
            "predictions": [
                {"class_id": 0, "label": "good", "score": 1.0},
                {"class_id": 1, "label": "bad", "score": 0.0},
            ]
        }
    ]


async def test_an_image_still_goes_to_the_model_for_images(gateway: httpx.AsyncClient) -> None:
    reply = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert reply.json()["model"]["name"] == "pets"


async def test_several_texts_become_one_batch_padded_to_the_longest(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    reply = await gateway.post("/v1/classify", json=texts("one two three", "one", "nine", top_k=1))
    assert [result["predictions"][0]["label"] for result in reply.json()["results"]] == [
        "good",
        "good",
        "bad",
    ]
    (request,) = triton.requests
    sent = tensors(request)
    assert [tensor.datatype for tensor in request.inputs] == ["INT64"] * 3
    assert sent["input_ids"].tolist() == [
        [CLS, ONE, TWO, THREE, SEP],
        [CLS, ONE, SEP, PAD, PAD],
        [CLS, UNK, SEP, PAD, PAD],
    ]
    assert sent["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    assert sent["token_type_ids"].tolist() == [[0] * 5] * 3


async def test_more_texts_than_the_model_takes_go_as_several_batches_in_their_order(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    reply = await gateway.post("/v1/classify", json=texts(*["one", "nine"] * 3, top_k=1))
    labels = [result["predictions"][0]["label"] for result in reply.json()["results"]]
    assert labels == ["good", "bad"] * 3
    assert sorted(request.inputs[0].shape[0] for request in triton.requests) == [2, 4]


async def test_the_end_of_a_long_text_is_cut_off(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    reply = await gateway.post("/v1/classify", json=texts("one " * 4000 + "nine", top_k=1))
    assert reply.json()["results"][0]["predictions"][0]["label"] == "good"
    assert tensors(triton.requests[0])["input_ids"].tolist() == [[CLS, *[ONE] * 6, SEP]]


async def test_the_models_that_may_be_used_tell_how_many_tokens_they_read(gateway: httpx.AsyncClient) -> None:
    models = {model["name"]: model for model in (await gateway.get("/v1/models")).json()["models"]}
    assert models["mood"]["input"] == {"max_tokens": 8}
    assert models["mood"]["task"] == "text-classification"
    assert models["pets"]["input"] == {"width": 8, "height": 8}


async def test_each_full_thousand_tokens_cost_a_unit_more(
    redis: Addresses, gateway: httpx.AsyncClient
) -> None:
    # One unit in a thousand seconds, so that what a request takes is seen.
    key = await asyncio.to_thread(create_key, redis, "readers", "infer", rate="1/1000:100")
    left = [
        int(reply.headers["ratelimit"].split("r=")[1].split(";")[0])
        for values in (["one"], ["one", "two"], ["one " * 4000])
        for reply in [await gateway.post("/v1/classify", json=texts(*values), headers={"x-api-key": key})]
    ]
    assert left == [99, 97, 92]


@pytest.mark.parametrize(
    ("item", "detail"),
    [
        ({"text": ""}, "A text has a character that is not white space"),
        ({"text": " \n\u3000"}, "A text has a character that is not white space"),
        ({"text": "a" * 20_001}, "String should have at most 20000 characters"),
        ({"text": None}, "must not be null"),
        ({"text": 7}, "Input should be a valid string"),
        ({"text": ["one"]}, "Input should be a valid string"),
        ({"text": "one", "image": "AAAA"}, "needs exactly one of image, url and text"),
        ({}, "needs exactly one of image, url and text"),
    ],
    ids=["empty", "blank", "too long", "null", "a number", "a list", "text and image", "nothing"],
)
async def test_what_is_no_text_is_refused_with_its_place(
    gateway: httpx.AsyncClient, triton: FakeTriton, item: dict[str, object], detail: str
) -> None:
    reply = await gateway.post("/v1/classify", json={"inputs": [{"text": "one"}, item]})
    assert reply.status_code == 422
    (problem,) = reply.json()["errors"]
    assert problem["pointer"].startswith("/inputs/1")
    assert detail in problem["detail"]
    assert triton.requests == []


@pytest.mark.parametrize("escape", [r"\ud800", r"one \udfff two", r"\udc00\ud800"])
async def test_half_a_surrogate_pair_is_refused(gateway: httpx.AsyncClient, escape: str) -> None:
    body = json.dumps(texts("TEXT")).replace("TEXT", escape)
    reply = await gateway.post("/v1/classify", content=body, headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_json")


async def test_a_whole_surrogate_pair_is_a_character(gateway: httpx.AsyncClient) -> None:
    body = json.dumps(texts("one 😀"), ensure_ascii=True)
    reply = await gateway.post("/v1/classify", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 200


async def test_images_and_texts_do_not_go_into_one_request(gateway: httpx.AsyncClient) -> None:
    image = {"image": base64.b64encode(PNG).decode()}
    for inputs in ([image, {"text": "one"}], [{"text": "one"}, image], [{"image": "%"}, {"text": "one"}]):
        reply = await gateway.post("/v1/classify", json={"inputs": inputs})
        assert reply.status_code == 422
        assert reply.json()["errors"] == [
            {"pointer": "/inputs", "detail": "All inputs of a request are images, or all are texts."}
        ]


async def test_a_model_that_reads_the_other_kind_says_so(gateway: httpx.AsyncClient) -> None:
    wrong = [
        texts("one", model="pets"),
        {"inputs": [{"image": base64.b64encode(PNG).decode()}], "model": "mood"},
    ]
    details = [
        "image-classification, not text-classification",
        "text-classification, not image-classification",
    ]
    for body, detail in zip(wrong, details, strict=True):
        reply = await gateway.post("/v1/classify", json=body)
        assert reply.status_code == 422
        assert reply.json()["errors"] == [{"pointer": "/model", "detail": f"This model does {detail}."}]


async def test_nothing_is_found_in_a_text(gateway: httpx.AsyncClient) -> None:
    reply = await gateway.post("/v1/detect", json=texts("one"))
    assert reply.status_code == 422
    assert reply.json()["errors"] == [
        {"pointer": "/inputs/0", "detail": "needs exactly one of image and url"}
    ]


@pytest.mark.parametrize("folder", ["none", "without the file"])
async def test_a_model_without_its_tokenizer_is_unavailable_and_the_others_serve(
    triton: FakeTriton, serve: Serve, tmp_path: Path, folder: str
) -> None:
    settings = {} if folder == "none" else {"model_repository": tmp_path}
    async with serving(triton) as url, serve(url, **settings) as client:
        await until_ready(client)
        missing = await client.post("/v1/classify", json=texts("one", model="mood"))
        assert (missing.status_code, missing.json()["code"]) == (503, "model_unavailable")
        picture = await client.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
        assert picture.status_code == 200


async def test_a_tokenizer_that_arrives_later_makes_its_model_serve(
    triton: FakeTriton, serve: Serve, tmp_path: Path
) -> None:
    async with serving(triton) as url, serve(url, model_repository=tmp_path) as client:
        await until_ready(client)
        save(tmp_path, "mood")
        statuses = {(await client.post("/v1/classify", json=texts("one"))).status_code}
        while 200 not in statuses:
            statuses.add((await client.post("/v1/classify", json=texts("one"))).status_code)
        assert statuses <= {200, 503}
