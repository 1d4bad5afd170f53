"""Canaries over HTTP: set, moved on, taken back and watched, with a real Redis and a Triton whose answers are known."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from exposition import Exposition
from stack import Addresses, create_key
from support.fake_triton import CLASSIFIER, FakeTriton, Request, Response, answer, config, serving
from support.newer_release import set_by_a_newer_release
from support.pictures import encoded, photo
from support.serving import Serve, until_ready
from tritonclient.grpc import model_config_pb2

from gateway.api.live import Watch
from gateway.store import StoreAway

PNG = encoded(photo(20, 10))
RAW = {"content-type": "image/png"}
PATH = "/admin/v1/canaries/pets"


@pytest.fixture(scope="module")
def admin_key(redis: Addresses) -> str:
    return create_key(redis, "operators", "infer", "admin:canary")


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton()
    for name in ("pets", "cars"):
        parameters = {**CLASSIFIER, "gateway.default": "true" if name == "pets" else "false"}
        message = config(name, parameters, output=[3])
        message.version_policy.CopyFrom(
            model_config_pb2.ModelVersionPolicy(all=model_config_pb2.ModelVersionPolicy.All())
        )
        fake.models[name] = (message, ["1", "2", "3"])
    return fake


@pytest.fixture
async def admin(gateway: httpx.AsyncClient, admin_key: str) -> AsyncIterator[httpx.AsyncClient]:
    """An operator; the routes are as they were at first."""
    headers = {"x-api-key": admin_key}
    async with httpx.AsyncClient(
        base_url=gateway.base_url, headers=headers, timeout=10, trust_env=False
    ) as client:
        for model in ("pets", "cars"):
            path = f"/admin/v1/canaries/{model}"
            await client.post(f"{path}/unfreeze")
            tag = (await client.get(path)).headers["etag"]
            assert (await client.delete(path, headers={"if-match": tag})).status_code == 204
        yield client


async def put(admin: httpx.AsyncClient, **wanted: object) -> httpx.Response:
    """The route of pets, set to this from whatever it is."""
    tag = (await admin.get(PATH)).headers["etag"]
    document = {"stable": "1", "canary": "2", "weight": 0, "sticky": "principal", "mirror": 0, **wanted}
    return await admin.put(PATH, json=document, headers={"if-match": tag})


async def variants(gateway: httpx.AsyncClient, count: int = 40, **headers: str) -> Counter[tuple[str, str]]:
    """Version and variant of so many answers."""
    found: Counter[tuple[str, str]] = Counter()
    for _ in range(count):
        reply = await gateway.post("/v1/classify", content=PNG, headers={**RAW, **headers})
        assert reply.status_code == 200, reply.text
        model = reply.json()["model"]
        assert (reply.headers["x-model-version"], reply.headers["x-model-variant"]) == (
            model["version"],
            model["variant"],
        )
        found[model["version"], model["variant"]] += 1
    return found


async def counted(gateway: httpx.AsyncClient, name: str, **labels: str) -> float:
    """What /metrics says of pets."""
    text = (await gateway.get("/metrics")).text
    return Exposition(text).total(name, model="pets", **labels)


async def until_rollback_counted(gateway: httpx.AsyncClient, reason: str) -> None:
    """The route changes first, and then the metric."""
    async with asyncio.timeout(5):
        while await counted(gateway, "gateway_canary_rollbacks_total", reason=reason) != 1:
            await asyncio.sleep(0.05)


async def test_a_model_without_a_route_shows_its_default(admin: httpx.AsyncClient) -> None:
    reply = await admin.get("/admin/v1/canaries/cars")
    body = reply.json()
    assert (body["stable"], body["canary"], body["weight"], body["phase"]) == ("1", None, 0, "steady")
    assert reply.headers["etag"] == f'"{body["generation"]}"'
    listed = (await admin.get("/admin/v1/canaries")).json()["canaries"]
    assert [route["model"] for route in listed] == ["cars", "pets"]


async def test_a_model_that_there_is_not_has_no_route(admin: httpx.AsyncClient) -> None:
    for reply in (
        await admin.get("/admin/v1/canaries/nothing"),
        await admin.put("/admin/v1/canaries/nothing", json={"stable": "1"}, headers={"if-match": '"0"'}),
        await admin.post("/admin/v1/canaries/nothing/rollback"),
        await admin.get("/admin/v1/canaries/nothing/events"),
        await admin.get("/admin/v1/canaries/nothing/report"),
    ):
        assert (reply.status_code, reply.json()["code"]) == (404, "model_not_found")


async def test_a_change_needs_the_generation_that_it_changes(admin: httpx.AsyncClient) -> None:
    tag = (await admin.get(PATH)).headers["etag"]
    document = {"stable": "1", "canary": "2", "weight": 500}
    without = await admin.put(PATH, json=document)
    assert (without.status_code, without.json()["code"]) == (428, "precondition_required")
    assert (await admin.patch(PATH, json={"weight": 1})).status_code == 428
    assert (await admin.delete(PATH)).status_code == 428
    first = await admin.put(PATH, json=document, headers={"if-match": tag})
    assert first.status_code == 200
    assert (await admin.get(PATH)).headers["etag"] == first.headers["etag"] != tag
    late = await admin.put(PATH, json={**document, "weight": 900}, headers={"if-match": tag})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert (await admin.get(PATH)).json()["weight"] == 500


async def test_of_two_operators_at_once_exactly_one_wins(admin: httpx.AsyncClient) -> None:
    for _ in range(10):
        tag = (await admin.get(PATH)).headers["etag"]
        replies = await asyncio.gather(
            *(
                admin.put(
                    PATH, json={"stable": "1", "canary": "2", "weight": weight}, headers={"if-match": tag}
                )
                for weight in (int(tag.strip('"')) % 1000 + 1, int(tag.strip('"')) % 1000 + 2)
            )
        )
        assert sorted(reply.status_code for reply in replies) == [200, 412]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"weight": 10_001}, "/weight"),
        ({"weight": 5.5}, "/weight"),
        ({"weight": "500"}, "/weight"),
        ({"sticky": "ip"}, "/sticky"),
        ({"canary": "two"}, "/canary"),
        ({"mirror": -1}, "/mirror"),
        ({"colour": "red"}, "/colour"),
        ({"guard": {"min_requests": 1}}, "/guard/min_requests"),
        ({"steps": [{"weight": 0}]}, "/steps/0/weight"),
        ({"lease": "soon"}, "/lease"),
        ({"lease": 10**400}, "/lease"),
        ({"lease": -(10**400)}, "/lease"),
        ({"weight": 10**400}, "/weight"),
        ({"steps": [{"weight": 1, "seconds": 10**400}]}, "/steps/0/seconds"),
        ({"guard": {"error_z": 10**400}}, "/guard/error_z"),
        ({"lives": {"1": {"sunset_at": 10**400}}}, "/lives/1/sunset_at"),
    ],
)
async def test_a_route_that_cannot_be_is_refused_by_its_field(
    admin: httpx.AsyncClient, wrong: dict[str, object], pointer: str
) -> None:
    reply = await put(admin, **wrong)
    assert (reply.status_code, reply.json()["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]


async def test_the_weight_decides_who_answers(gateway: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    assert await variants(gateway) == {("1", "stable"): 40}
    assert (await put(admin, weight=10_000)).status_code == 200
    assert await variants(gateway) == {("2", "canary"): 40}
    assert await counted(gateway, "gateway_canary_weight") == 10_000
    assert await counted(gateway, "gateway_request_seconds_count", version="2", variant="canary") == 40
    assert (await put(admin, weight=0)).status_code == 200
    assert await variants(gateway) == {("1", "stable"): 40}


async def test_end_users_are_told_apart_by_a_header_and_stay_where_they_are(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await put(admin, weight=5000, sticky="header:X-User-Id")
    first = [await variants(gateway, 1, **{"x-user-id": f"u{n}"}) for n in range(60)]
    again = [await variants(gateway, 1, **{"x-user-id": f"u{n}"}) for n in range(60)]
    assert first == again
    assert 10 < sum(("2", "canary") in found for found in first) < 50


async def test_a_caller_may_pin_any_loaded_version_and_choose_with_the_scope(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await put(admin, weight=0)
    assert await variants(gateway, 2, **{"x-model-version": "3"}) == {("3", "pinned"): 2}
    assert await variants(gateway, 2, **{"x-canary": "always"}) == {("2", "canary"): 2}
    await put(admin, weight=10_000)
    assert await variants(gateway, 2, **{"x-canary": "never"}) == {("1", "stable"): 2}
    for headers, status, code in (
        ({"x-model-version": "9"}, 404, "version_not_found"),
        ({"x-model-version": "two"}, 422, "validation_failed"),
        ({"x-canary": "maybe"}, 422, "validation_failed"),
    ):
        reply = await gateway.post("/v1/classify", content=PNG, headers={**RAW, **headers})
        assert (reply.status_code, reply.json()["code"]) == (status, code)
    reply = await gateway.post("/v1/classify?version=1", content=PNG, headers={**RAW, "x-model-version": "2"})
    assert reply.status_code == 422


async def test_choosing_needs_the_scope(admin: httpx.AsyncClient) -> None:
    for headers in ({"x-model-version": "2"}, {"x-canary": "always"}):
        reply = await admin.post("/v1/classify", content=PNG, headers={**RAW, **headers})
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden")


async def test_a_canary_that_fails_is_answered_by_the_stable_version(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await put(admin, weight=10_000, guard={"min_requests": 1000})
    triton.infer = second_version_raises
    assert await variants(gateway, 8) == {("1", "stable"): 8}
    failed = await counted(gateway, "gateway_attempts_total", version="2", variant="canary", outcome="error")
    spared = await counted(gateway, "gateway_attempts_total", version="2", variant="breaker")
    assert failed + spared == 8
    assert 5 <= failed < 8, "after five failures its breaker spares it, but for a probe each half a second"
    assert sum(request.model_version == "2" for request in triton.requests[-8 - int(failed) :]) == failed
    assert await counted(gateway, "gateway_fallbacks_total") == 8
    assert await counted(gateway, "gateway_requests_total", version="1", variant="stable", code="200") == 8
    states = await counted(gateway, "gateway_breakers", version="2")
    assert states == 1, "open, and half a second later half open"


async def test_a_version_tells_how_long_it_has_to_live(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    lives = {"1": {"deprecated_at": 1_893_456_000, "sunset_at": 1_924_992_000}}
    assert (await put(admin, lives=lives)).status_code == 200
    reply = await gateway.post("/v1/classify", content=PNG, headers=RAW)
    assert reply.headers["deprecation"] == "@1893456000"
    assert reply.headers["sunset"] == "Wed, 01 Jan 2031 00:00:00 GMT"
    pinned = await gateway.post("/v1/classify", content=PNG, headers={**RAW, "x-model-version": "2"})
    assert "deprecation" not in pinned.headers

    async def callers(version: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = (await admin.get(f"{PATH}/callers?version={version}")).json()["callers"]
        return found

    async with asyncio.timeout(5):
        while not await callers("1"):
            await asyncio.sleep(0.1)
    assert [caller["tenant"] for caller in await callers("1")] == ["tests"]
    assert await callers("2") == []


async def test_traffic_needs_a_canary_that_passes_its_preflight(
    admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    absent = await put(admin, canary="7", weight=1)
    assert (absent.status_code, absent.json()["code"]) == (409, "preflight_failed")
    assert "version 7 is loaded" in absent.json()["reasons"][0]
    assert (await put(admin, canary="7", weight=0)).status_code == 200
    triton.infer = second_version_raises
    failing = await put(admin, weight=1)
    assert failing.status_code == 409
    assert any("version 2 answers warm-up" in reason for reason in failing.json()["reasons"])
    assert "secret" not in failing.json()["detail"]
    triton.models["pets"][0].version_policy.CopyFrom(model_config_pb2.ModelVersionPolicy())
    policy = await put(admin, canary="3", weight=1)
    assert policy.json()["reasons"] == ["the version policy keeps both: latest 1"]


async def test_another_stable_version_has_to_be_fit_for_everybody(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    absent = await put(admin, stable="7", canary=None)
    assert (absent.status_code, absent.json()["reasons"]) == (
        409,
        ["version 7 is loaded: ready are: 1, 2, 3"],
    )
    triton.infer = second_version_raises
    failing = await put(admin, stable="2", canary=None)
    assert (failing.status_code, failing.json()["code"]) == (409, "preflight_failed")
    assert (await put(admin, weight=0)).status_code == 200
    assert await variants(gateway, 2) == {("1", "stable"): 2}
    assert (await put(admin, stable="3", canary=None)).status_code == 200
    assert await variants(gateway, 2) == {("3", "stable"): 2}


async def test_a_deleted_route_leaves_a_stable_version_that_is_fit(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    assert (await put(admin, stable="3", canary=None)).status_code == 200
    tag = (await admin.get(PATH)).headers["etag"]
    triton.models["pets"] = (triton.models["pets"][0], ["2", "3"])
    refused = await admin.delete(PATH, headers={"if-match": tag})
    assert (refused.status_code, refused.json()["code"]) == (409, "preflight_failed")
    assert await variants(gateway, 2) == {("3", "stable"): 2}


async def test_a_preflight_can_be_run_alone(admin: httpx.AsyncClient) -> None:
    good = (await admin.post(f"{PATH}/check", json={"to": "2"})).json()
    assert good["passed"] is True
    assert [check["name"] for check in good["checks"]] == [
        "version 1 is loaded",
        "version 2 is loaded",
        "the version policy keeps both",
        "version 1 answers warm-up",
        "version 2 answers warm-up",
        "both versions answer alike",
    ]
    bad = (await admin.post(f"{PATH}/check", json={"to": "9"})).json()
    assert bad["passed"] is False
    itself = await admin.post(f"{PATH}/check", json={"to": "1"})
    assert (itself.status_code, itself.json()["errors"][0]["pointer"]) == (422, "/to")


async def test_promote_pause_resume_freeze_rollback_and_undo(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    plan = [{"weight": 2500, "seconds": 3600}, {"weight": 10_000, "seconds": 3600}]
    tag = (await admin.get(PATH)).headers["etag"]
    started = await admin.put(
        PATH, json={"stable": "1", "canary": "2", "steps": plan}, headers={"if-match": tag}
    )
    assert (started.json()["phase"], started.json()["weight"]) == ("progressing", 2500)

    async def act(name: str, **body: object) -> dict[str, object]:
        reply = await admin.post(f"{PATH}/{name}", json=body)
        assert reply.status_code == 200, reply.text
        found: dict[str, object] = reply.json()
        return found

    assert (await act("pause"))["phase"] == "paused"
    assert (await act("resume"))["phase"] == "progressing"
    assert (await act("freeze"))["frozen"] is True
    refused = await admin.post(f"{PATH}/promote")
    assert (refused.status_code, refused.json()["code"]) == (409, "route_conflict")
    assert (await act("unfreeze"))["frozen"] is False
    promoted = await act("promote")
    assert (promoted["stable"], promoted["canary"], promoted["phase"]) == ("2", None, "promoted")
    assert await variants(gateway, 2) == {("2", "stable"): 2}
    undone = await act("undo")
    assert (undone["stable"], undone["canary"], undone["phase"]) == ("1", "2", "paused")
    back = await act("rollback", reason="it smells")
    assert (back["weight"], back["phase"], back["reason"]) == (0, "rolled-back", "it smells")
    await until_rollback_counted(gateway, "operator")
    assert await counted(gateway, "gateway_route_generation") == back["generation"]
    assert await variants(gateway, 2) == {("1", "stable"): 2}
    stale = await admin.post(f"{PATH}/promote", headers={"if-match": tag})
    assert stale.status_code == 412


@pytest.mark.parametrize("mend", ["put", "patch", "delete", "rollback", "undo"])
async def test_a_route_that_cannot_be_read_shows_what_it_takes_to_mend_it(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, redis: Addresses, mend: str
) -> None:
    await put(admin, weight=10_000)
    tag = await set_by_a_newer_release(redis, "pets", (await admin.get(PATH)).headers["etag"])
    shown = await admin.get(PATH)
    assert (shown.headers["etag"], shown.json()["weight"]) == (tag, 10_000)
    assert shown.json()["unreadable"] == "wrong or missing: colour"
    listed = (await admin.get("/admin/v1/canaries")).json()["canaries"]
    assert [(route["model"], route["unreadable"]) for route in listed] == [
        ("cars", None),
        ("pets", "wrong or missing: colour"),
    ]
    assert await variants(gateway, 2) == {("2", "canary"): 2}
    headers = {"if-match": tag}
    mended = {
        "put": lambda: admin.put(PATH, json={"stable": "1"}, headers=headers),
        "patch": lambda: admin.patch(PATH, json={"weight": 0}, headers=headers),
        "delete": lambda: admin.delete(PATH, headers=headers),
        "rollback": lambda: admin.post(f"{PATH}/rollback"),
        "undo": lambda: admin.post(f"{PATH}/undo"),
    }
    reply = await mended[mend]()
    assert reply.is_success, reply.text
    assert (await admin.get(PATH)).json()["unreadable"] is None
    answered = {("2", "canary"): 2} if mend == "undo" else {("1", "stable"): 2}
    assert await variants(gateway, 2) == answered


async def test_after_a_rollback_a_lease_brings_nobody_back(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await put(admin, weight=1, always=["tests"], lease=3600)
    assert await variants(gateway, 2) == {("2", "canary"): 2}
    await admin.post(f"{PATH}/rollback")
    tag = (await admin.get(PATH)).headers["etag"]
    renewed = await admin.patch(PATH, json={"lease": 3600}, headers={"if-match": tag})
    assert (renewed.status_code, renewed.json()["code"]) == (409, "route_conflict")
    again = await admin.patch(PATH, json={"weight": 1}, headers={"if-match": tag})
    assert again.json()["always"] == []
    assert await variants(gateway, 2) == {("1", "stable"): 2}


async def test_every_change_stands_in_the_log(admin: httpx.AsyncClient) -> None:
    await put(admin, weight=700)
    await admin.post(f"{PATH}/rollback", json={"reason": "too slow"})
    events = (await admin.get(f"{PATH}/events?limit=2")).json()["events"]
    assert [event["action"] for event in events] == ["rollback", "put"]
    rollback = events[0]
    assert (rollback["reason"], rollback["before"]["weight"], rollback["after"]["weight"]) == (
        "too slow",
        700,
        0,
    )
    assert len(rollback["actor"]) == 8, "the id of the key"
    assert rollback["generation"] == events[1]["generation"] + 1
    assert "salt" not in rollback["before"]
    later = (await admin.get(f"{PATH}/events?after={events[1]['id']}")).json()["events"]
    assert [event["id"] for event in later] == [rollback["id"]]
    assert (await admin.get(f"{PATH}/events?limit=0")).status_code == 422
    assert (await admin.get(f"{PATH}/events?after=x")).status_code == 422


async def test_a_lease_that_nobody_renews_ends(gateway: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    leased = await put(admin, weight=10_000, lease=1.5)
    assert 0 < leased.json()["lease"] <= 1.5
    assert await variants(gateway, 1) == {("2", "canary"): 1}
    async with asyncio.timeout(6):
        while (await admin.get(PATH)).json()["weight"]:
            await asyncio.sleep(0.1)
    assert "lease ended" in (await admin.get(PATH)).json()["reason"]
    await until_rollback_counted(gateway, "lease")
    event = (await admin.get(f"{PATH}/events?limit=1")).json()["events"][0]
    assert (event["action"], event["reason"]) == ("expire-lease", "")


async def test_a_bad_canary_is_rolled_back_and_hardly_anybody_notices(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await put(admin, weight=5000, sticky="header:X-User-Id", guard={"min_requests": 50})
    triton.infer = second_version_raises_now_and_then
    statuses: Counter[int] = Counter()
    started = time.monotonic()
    while (await admin.get(PATH)).json()["phase"] != "rolled-back":
        assert time.monotonic() - started < 20
        replies = await asyncio.gather(
            *(
                gateway.post("/v1/classify", content=PNG, headers={**RAW, "x-user-id": f"u{n}"})
                for n in range(20)
            )
        )
        statuses.update(reply.status_code for reply in replies)
    route = (await admin.get(PATH)).json()
    assert "failed on the canary" in route["reason"]
    assert statuses[200] == statuses.total()
    event = (await admin.get(f"{PATH}/events?limit=1")).json()["events"][0]
    assert (event["actor"], event["action"]) == ("guard", "rollback")
    await until_rollback_counted(gateway, "errors")
    assert await counted(gateway, "gateway_canary_rollbacks_total") == 1
    assert await counted(gateway, "gateway_canary_weight") == 0


async def test_the_report_tells_both_sides_and_the_last_decision(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path = "/admin/v1/canaries/cars"
    tag = (await admin.get(path)).headers["etag"]
    document = {"stable": "1", "canary": "2", "weight": 5000, "sticky": "header:X-User-Id"}
    await admin.put(path, json=document, headers={"if-match": tag})
    for n in range(40):
        headers = {**RAW, "x-user-id": f"u{n}"}
        assert (await gateway.post("/v1/classify?model=cars", content=PNG, headers=headers)).is_success

    async def settled() -> dict[str, dict[str, object]]:
        while True:
            report: dict[str, dict[str, object]] = (await admin.get(f"{path}/report")).json()
            seen = [report[side]["requests"] for side in ("stable", "canary")]
            if report["decision"] and 0 not in seen:
                return report
            await asyncio.sleep(0.1)

    report = await asyncio.wait_for(settled(), 5)
    assert (report["stable"]["version"], report["canary"]["version"]) == ("1", "2")
    assert report["canary"]["errors"] == 0
    assert report["canary"]["p95_ms"] is not None
    assert report["decision"]["verdict"] == "insufficient"


async def test_mirrored_calls_are_compared_and_no_caller_notices(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await put(admin, weight=0, mirror=10_000)
    triton.infer = second_version_prefers_the_last_class
    assert await variants(gateway, 20) == {("1", "stable"): 20}

    async def compared() -> dict[str, object]:
        while True:
            found: dict[str, object] = (await admin.get(f"{PATH}/report")).json()["agreement"]
            if isinstance(found["compared"], int) and found["compared"] >= 15:
                return found
            await asyncio.sleep(0.1)

    agreement = await asyncio.wait_for(compared(), 5)
    assert agreement["agreed"] == 0
    assert agreement["rate"] == 0
    (first, *_) = agreement["disagreements"]  # type: ignore[misc]
    labels = [first[side]["predictions"][0]["label"] for side in ("stable", "canary")]  # type: ignore[index]
    assert labels == ["cat", "fox"]
    assert first["image"] is None  # type: ignore[index]
    mirrored = [request for request in triton.requests if request.model_version == "2"]
    assert {request.parameters["priority"].uint64_param for request in mirrored[-10:]} == {3}
    assert await counted(gateway, "gateway_canary_compared_total", version="2") >= agreement["compared"]
    assert await counted(gateway, "gateway_canary_agreed_total", version="2") == 0
    assert await counted(gateway, "gateway_requests_total", route="/v1/classify") == 20, (
        "mirrored calls are none"
    )


async def test_a_canary_whose_answers_differ_is_rolled_back_however_healthy_it_is(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await put(admin, weight=100, mirror=10_000, guard={"min_agreement": 0.9, "min_compared": 20})
    triton.infer = second_version_prefers_the_last_class
    started = time.monotonic()
    while (await admin.get(PATH)).json()["phase"] != "rolled-back":
        assert time.monotonic() - started < 15
        await variants(gateway, 5)
    assert "answers agree" in (await admin.get(PATH)).json()["reason"]
    await until_rollback_counted(gateway, "agreement")
    report = (await admin.get(f"{PATH}/report")).json()
    assert report["decision"] is None, "nothing is judged any more"
    assert report["agreement"]["disagreements"], "what led to it can still be read"


async def test_a_watcher_hears_every_change(admin: httpx.AsyncClient) -> None:
    events: list[tuple[str, dict[str, object]]] = []
    async with admin.stream("GET", "/admin/v1/events") as stream:
        kind, changed = "", False
        async for line in stream.aiter_lines():
            if line.startswith("event:"):
                kind = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                events.append((kind, json.loads(line.removeprefix("data:"))))
            if len(events) == 2 and not changed:
                changed = True
                await put(admin, weight=1234)
            if kind == "report" and line.startswith("data:"):
                break
    routes = [body for kind, body in events if kind == "route"]
    assert {body["model"] for body in routes[:2]} == {"cars", "pets"}
    assert [body["weight"] for body in routes[2:]] == [1234]
    assert events[-1][1]["model"] == "pets"


async def test_a_watcher_whose_key_is_revoked_hears_no_more(
    admin: httpx.AsyncClient, redis: Addresses
) -> None:
    leaving = create_key(redis, "leaving", "admin:canary")
    keeper = create_key(redis, "keeper", "admin:keys", "admin:canary")
    async with asyncio.timeout(30):
        while (await admin.get(PATH, headers={"x-api-key": leaving})).status_code != 200:
            await asyncio.sleep(0.1)
        async with admin.stream("GET", "/admin/v1/events", headers={"x-api-key": leaving}) as stream:
            heard = stream.aiter_lines()
            assert (await anext(heard)).startswith("event:")
            path = f"/admin/v1/keys/{leaving.split('_')[2]}"
            assert (await admin.delete(path, headers={"x-api-key": keeper})).status_code == 204
            async for _ in heard:
                pass
        assert (await admin.get("/admin/v1/events", headers={"x-api-key": leaving})).status_code == 401


async def test_a_rollout_whose_model_cannot_be_called_is_listed_and_told_and_taken_back(
    gateway: httpx.AsyncClient, admin: httpx.AsyncClient, triton: FakeTriton
) -> None:
    await put(admin, weight=1234)
    unloaded = triton.models.pop("pets")
    while "pets" in (await gateway.get("/v1/models")).text:
        await asyncio.sleep(0.02)
    listed = (await admin.get("/admin/v1/canaries")).json()["canaries"]
    assert [(route["model"], route["weight"]) for route in listed] == [("cars", 0), ("pets", 1234)]
    told: list[dict[str, object]] = []
    async with admin.stream("GET", "/admin/v1/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                told.append(json.loads(line.removeprefix("data:")))
            if len(told) == 4:
                break
    assert told[0] == {"models": {"cars": ["1", "2", "3"], "pets": []}}
    assert [body["model"] for body in told[1:]] == ["cars", "pets", "pets"]  # and a report on the rollout
    assert (await admin.post(f"{PATH}/rollback")).status_code == 200
    triton.models["pets"] = unloaded
    await until_ready(gateway)


class NothingToRead:
    """A catalog at a moment when Redis does not answer."""

    def callable_cards(self) -> list[object]:
        raise StoreAway("away")


async def test_a_watcher_is_kept_with_comments_that_are_no_events() -> None:
    nothing: Any = NothingToRead()

    async def admitted() -> bool:
        return True

    message = await anext(Watch(nothing, nothing, nothing, nothing, time.time, admitted).messages())
    assert message.encode() == b": the routes cannot be read at the moment\r\n\r\n"


async def test_golden_inputs_are_part_of_the_preflight(
    triton: FakeTriton, serve: Serve, admin_key: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("repository")
    golden = folder / "pets" / "golden"
    golden.mkdir(parents=True)
    (golden / "one.png").write_bytes(PNG)
    (golden / "notes.txt").write_text("not an input")
    async with serving(triton) as url, serve(url, model_repository=str(folder)) as client:
        await until_ready(client)
        headers = {"x-api-key": admin_key}
        checks = (await client.post(f"{PATH}/check", json={"to": "2"}, headers=headers)).json()["checks"]
        assert checks[-1] == {
            "name": "version 2 answers 1 golden inputs",
            "passed": True,
            "detail": "every answer is valid",
        }
        (golden / "two.png").write_bytes(PNG[:40])
        report = (await client.post(f"{PATH}/check", json={"to": "2"}, headers=headers)).json()
        assert report["passed"] is False
        assert "two.png" in report["checks"][-1]["detail"]


async def test_a_golden_input_that_cannot_be_read_is_a_check_that_failed(
    triton: FakeTriton, serve: Serve, admin_key: str, tmp_path: Path
) -> None:
    golden = tmp_path / "pets" / "golden"
    golden.mkdir(parents=True)
    (golden / "one.png").symlink_to(tmp_path / "nowhere")
    async with serving(triton) as url, serve(url, model_repository=str(tmp_path)) as client:
        await until_ready(client)
        answer = await client.post(f"{PATH}/check", json={"to": "2"}, headers={"x-api-key": admin_key})
    check = answer.json()["checks"][-1]
    assert (check["name"], check["passed"]) == ("the golden inputs can be read", False)
    assert "one.png" in check["detail"]


async def test_a_routes_file_gives_an_empty_store_its_first_route_and_nothing_later(
    triton: FakeTriton, serve: Serve, admin_key: str, tmp_path: Path
) -> None:
    name = f"seeded-{time.time_ns()}"
    message = config(name, {**CLASSIFIER, "gateway.default": "false"}, output=[3])
    message.version_policy.specific.versions.extend([1, 2])
    triton.models[name] = (message, ["1", "2"])
    file = tmp_path / "routes.yaml"
    file.write_text(f"routes:\n  {name}:\n    stable: 1\n    canary: 2\n    weight: 5%\n")
    path, headers = f"/admin/v1/canaries/{name}", {"x-api-key": admin_key}

    async def weight(client: httpx.AsyncClient) -> object:
        return (await client.get(path, headers=headers)).json().get("weight")

    async with serving(triton) as url:
        async with serve(url, routes_file=str(file)) as client:
            async with asyncio.timeout(10):
                while await weight(client) != 500:
                    await asyncio.sleep(0.05)
            event = (await client.get(f"{path}/events", headers=headers)).json()["events"][0]
            assert (event["actor"], event["action"]) == ("gateway", "seed")
            assert (await client.post(f"{path}/rollback", headers=headers)).status_code == 200
        async with serve(url, routes_file=str(file)) as client:
            await until_ready(client)
            await asyncio.sleep(2.5)
            assert await weight(client) == 0


async def second_version_raises(request: Request, context: grpc.aio.ServicerContext) -> Response:
    if request.model_version == "2":
        await context.abort(grpc.StatusCode.INTERNAL, "at /srv/secret/model.py")
    return answer(request, np.tile(np.array([0.5, 0.3, 0.2], np.float32), (request.inputs[0].shape[0], 1)))


async def second_version_prefers_the_last_class(request: Request, _: grpc.aio.ServicerContext) -> Response:
    row = [0.2, 0.3, 0.5] if request.model_version == "2" else [0.5, 0.3, 0.2]
    return answer(request, np.tile(np.array(row, np.float32), (request.inputs[0].shape[0], 1)))


_calls = iter(range(10**9))


async def second_version_raises_now_and_then(request: Request, context: grpc.aio.ServicerContext) -> Response:
    if request.model_version == "2" and next(_calls) % 4 == 0:
        await context.abort(grpc.StatusCode.INTERNAL, "every fourth")
    return answer(request, np.array([[0.5, 0.3, 0.2]], np.float32))
