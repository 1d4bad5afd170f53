"""Everything around inference: health, the model list, documentation, and problems on every path."""

import asyncio

import grpc
import httpx
import pytest
from stack import ROOT
from support.fake_triton import CLASSIFIER, FakeTriton, config, serving
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

from gateway.api.problem_pages import CAUSES
from gateway.api.problems import KINDS


async def test_the_models_are_listed_with_versions_and_limits(gateway: httpx.AsyncClient) -> None:
    finder, pets = (await gateway.get("/v1/models")).json()["models"]
    assert finder["task"] == "object-detection"
    assert pets == {
        "name": "pets",
        "task": "image-classification",
        "default": True,
        "default_version": "1",
        "versions": ["1", "2"],
        "labels": ["cat", "dog", "fox"],
        "input": {"width": 8, "height": 8},
        "max_batch_size": 4,
    }


async def test_a_model_that_is_loaded_later_appears_without_a_restart(
    gateway: httpx.AsyncClient, triton: FakeTriton
) -> None:
    assert (await gateway.post("/v1/classify?model=zoo", content=PNG, headers=RAW)).status_code == 404
    triton.models["zoo"] = (config("zoo", {**CLASSIFIER, "gateway.default": "false"}, output=[3]), ["1"])
    names: list[str] = []
    while "zoo" not in names:
        names = [model["name"] for model in (await gateway.get("/v1/models")).json()["models"]]
    assert (await gateway.post("/v1/classify?model=zoo", content=PNG, headers=RAW)).status_code == 200


async def test_a_gateway_without_triton_lives_and_is_not_ready(serve: Serve) -> None:
    async with serve("127.0.0.1:1") as client:
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "not ready",
            "parts": {
                "triton": False,
                "models": False,
                "keys": True,
                "staying": True,
                "models_fresh": False,
                "keys_fresh": True,
                "denied_tokens_fresh": True,
                "routes_fresh": True,
                "changes_taken": True,
                "limits": True,
            },
        }
        answer = await client.post("/v1/classify", content=PNG, headers=RAW)
        assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
        assert int(answer.headers["retry-after"]) >= 1


async def test_readiness_follows_triton(triton: FakeTriton, serve: Serve) -> None:
    async with serving(triton) as url, serve(url) as client:
        await until_ready(client)
        triton.models.clear()
        parts: dict[str, bool] = {}
        async with asyncio.timeout(10):  # a reading that was under way may find Triton half-way
            while (parts.get("triton"), parts.get("models")) != (True, False):
                answer = await client.get("/readyz")
                parts = answer.json()["parts"]
        assert answer.status_code == 503


async def test_a_triton_that_answers_and_cannot_say_what_it_has_is_used_on(
    triton: FakeTriton, serve: Serve
) -> None:
    """Its folder of models is out of reach for a moment."""
    async with serving(triton) as url, serve(url) as client:
        await until_ready(client)
        triton.index_error = (grpc.StatusCode.INTERNAL, "failed to open directory /models")
        async with asyncio.timeout(10):
            while (answer := await client.get("/readyz")).json()["parts"]["models_fresh"]:
                await asyncio.sleep(0.01)
        assert (answer.status_code, answer.json()["parts"]["triton"]) == (200, True)
        assert (await client.get("/v2/health/ready")).status_code == 200
        assert (await client.post("/v1/classify", content=PNG, headers=RAW)).status_code == 200
        triton.index_error = (grpc.StatusCode.UNAVAILABLE, "Server not ready")
        async with asyncio.timeout(10):
            while (await client.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/v1/classify/7", 404, "not_found"),
        ("GET", "/problems/nonsense", 404, "not_found"),
        ("GET", "/docs/assets/secret.txt", 404, "not_found"),
        ("GET", "/%00", 404, "not_found"),
        ("GET", "/%2e%2e/etc/passwd", 404, "not_found"),
        ("GET", "/v1/classify", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_every_refusal_is_a_problem(
    gateway: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await gateway.request(method, path)
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["type"] == f"/problems/{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("code", sorted(KINDS))
async def test_every_code_has_its_page(gateway: httpx.AsyncClient, code: str) -> None:
    page = await gateway.get(f"/problems/{code}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert code in page.text
    assert KINDS[code].remedy in page.text
    assert CAUSES[code] in page.text


async def test_all_codes_stand_in_one_table(gateway: httpx.AsyncClient) -> None:
    page = await gateway.get("/problems")
    assert set(CAUSES) == set(KINDS)
    assert all(f'href="/problems/{code}"' in page.text for code in KINDS)


@pytest.mark.parametrize("name", ["digit.png", "scene.jpg"])
async def test_the_playgrounds_samples_are_those_of_the_documentation(
    gateway: httpx.AsyncClient, name: str
) -> None:
    assert (await gateway.get(f"/assets/samples/{name}")).content == (SAMPLES / name).read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status", "told"),
    [
        ("GET", "/v1/models", 200, "no-store"),
        ("HEAD", "/v1/models", 200, "no-store"),
        ("OPTIONS", "/v1/models", 204, "no-store"),
        ("DELETE", "/v1/models", 405, "no-store"),
        ("GET", "/v2/models/pets", 200, "no-store"),
        ("GET", "/admin/v1/events", 403, "no-store"),
        ("GET", "/nowhere", 404, "no-store"),
        ("GET", "/v1%2Fmodels", 404, "no-store"),
        ("GET", "/readyz", 200, "no-store"),
        ("GET", "/playground", 200, "no-cache"),
        ("GET", "/assets/shared/design.css", 200, "no-cache"),
        ("GET", "/docs", 200, "no-cache"),
        ("GET", "/docs/openapi.json", 200, "no-cache"),
        ("GET", "/docs/assets/swagger-ui.css", 200, "public, max-age=86400"),
        ("GET", "/problems/forbidden", 200, "no-cache"),
    ],
)
async def test_nothing_is_to_be_kept_but_pages(
    gateway: httpx.AsyncClient, method: str, path: str, status: int, told: str
) -> None:
    answer = await gateway.request(method, path)
    assert (answer.status_code, answer.headers.get_list("cache-control")) == (status, [told])


async def test_the_documentation_page_needs_no_other_host(gateway: httpx.AsyncClient) -> None:
    page = await gateway.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype html>", "")
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        assert f"/docs/assets/{asset}" in page.text
        assert (await gateway.get(f"/docs/assets/{asset}")).status_code == 200


SAMPLES = ROOT / "clients" / "samples"
RAW = {"content-type": "image/png"}
PNG = encoded(photo(20, 10))
