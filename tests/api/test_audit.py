"""The audit log: every change of routes, models and keys with who made it, for those who may administer such things."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
import httpx
import pytest
from stack import Addresses, create_key
from support.fake_triton import FakeTriton, serving
from support.serving import Serve, until_ready

from gateway.api.audit import Change, newest
from gateway.store import Area, Audit, connect

LOG = "/admin/v1/audit"
ROUTE = "/admin/v1/canaries/pets"


@pytest.fixture
async def operator(gateway: httpx.AsyncClient, redis: Addresses) -> AsyncIterator[httpx.AsyncClient]:
    key = create_key(redis, "operators", "infer", "admin:keys", "admin:canary", "admin:models")
    async with httpx.AsyncClient(
        base_url=gateway.base_url, headers={"x-api-key": key}, timeout=10, trust_env=False
    ) as client:
        while (await client.get(LOG)).status_code != 200:  # until this worker has heard of the key
            pass
        yield client


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [
        (None, 200, ""),
        (grpc.StatusCode.INTERNAL, 409, ", in vain"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504, ", outcome unknown"),
        (grpc.StatusCode.UNAVAILABLE, 503, ", outcome unknown"),
    ],
    ids=["it is done", "Triton refuses", "no answer in time", "no answer"],
)
async def test_what_came_of_an_order_to_triton_is_noted(
    triton: FakeTriton,
    operator: httpx.AsyncClient,
    code: grpc.StatusCode | None,
    status: int,
    outcome: str,
) -> None:
    triton.order_error = code and (code, "Socket closed")
    for action in ("load", "unload", "heal"):
        answer = await operator.post(f"/admin/v1/models/pets/{action}", json={"force": True})
        assert answer.status_code == status, answer.text
        (found,) = await changes(operator, "?limit=1")
        assert (found["action"], found["subject"]) == (action + outcome, "pets")


@dataclass
class Laborious(FakeTriton):
    """It never comes to an end with what it is told to load."""

    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def RepositoryModelLoad(self, _: object, __: object) -> object:  # noqa: N802
        self.told.set()
        return await asyncio.Event().wait()


async def test_an_order_that_the_end_of_the_process_cuts_off_is_noted(
    triton: FakeTriton, serve: Serve, operator: httpx.AsyncClient
) -> None:
    laborious = Laborious(triton.models)
    async with (
        httpx.AsyncClient(headers=operator.headers, timeout=30, trust_env=False) as caller,
        serving(laborious) as url,
        serve(url, grace=1) as ending,
    ):
        await until_ready(ending)
        order = asyncio.create_task(caller.post(f"{ending.base_url}/admin/v1/models/pets/load"))
        await laborious.told.wait()
    assert (await order).is_server_error
    (found,) = await changes(operator, "?limit=1")
    assert (found["action"], found["subject"]) == ("load, outcome unknown", "pets")


async def test_what_is_refused_before_triton_is_told_is_no_change(operator: httpx.AsyncClient) -> None:
    before = await changes(operator, "?limit=1")
    assert (await operator.post("/admin/v1/models/pets/unload")).status_code == 409
    assert (await operator.post("/admin/v1/models/nothing/load")).status_code == 404
    assert await changes(operator, "?limit=1") == before


async def changes(client: httpx.AsyncClient, query: str = "", **headers: str) -> list[dict[str, object]]:
    answer = await client.get(f"{LOG}{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["changes"]
    return found


def told(change: dict[str, object]) -> tuple[object, ...]:
    return change["area"], change["action"], change["subject"], change["actor"]


async def test_every_change_is_there_with_who_made_it_the_newest_first(
    operator: httpx.AsyncClient,
) -> None:
    me = operator.headers["x-api-key"].split("_")[2]
    made = (await operator.post("/admin/v1/keys", json={"tenant": "shop", "scopes": ["infer"]})).json()
    await operator.post(f"/admin/v1/keys/{made['id']}/rotate", json={"overlap": 0})
    tag = (await operator.get(ROUTE)).headers["etag"]
    document = {"stable": "1", "canary": "2", "weight": 0}
    put = await operator.put(ROUTE, json=document, headers={"if-match": tag})
    assert put.status_code == 200, put.text
    assert (await operator.delete(f"/admin/v1/keys/{made['id']}")).status_code == 204
    assert (await operator.delete("/admin/v1/tokens/t-1")).status_code == 204
    found = await changes(operator, "?limit=6")
    assert [told(change) for change in found] == [
        ("keys", "end", "t-1", me),
        ("keys", "revoke", made["id"], me),
        ("canaries", "put", "pets", me),
        ("keys", "rotate", made["id"], me),
        ("keys", "create", made["id"], me),
        ("keys", "create", me, "command line"),
    ]
    assert found[2]["generation"] == put.json()["generation"]
    assert isinstance(found[2]["after"], dict)
    assert found[2]["after"]["canary"] == "2"
    pages, before = [], ""
    for _ in range(3):
        page = await changes(operator, f"?limit=2{before}")
        pages += page
        before = f"&before={page[-1]['id']}"
    assert pages == found


async def test_each_sees_the_changes_of_what_it_may_administer(
    operator: httpx.AsyncClient, redis: Addresses
) -> None:
    tag = (await operator.get(ROUTE)).headers["etag"]
    await operator.put(ROUTE, json={"stable": "1"}, headers={"if-match": tag})
    await operator.post("/admin/v1/models/pets/load")
    for scope, areas in (
        ("admin:keys", {"keys"}),
        ("admin:canary", {"canaries"}),
        ("admin:models", {"models"}),
    ):
        key = create_key(redis, "one", scope)
        while (await operator.get(LOG, headers={"x-api-key": key})).status_code != 200:
            pass
        seen = await changes(operator, **{"x-api-key": key})
        assert {change["area"] for change in seen} == areas


@pytest.mark.parametrize("before", ["0-0", "0", "00-00"])
async def test_before_the_first_change_there_is_none(operator: httpx.AsyncClient, before: str) -> None:
    assert await changes(operator) != []
    assert await changes(operator, f"?before={before}") == []
    of_route = await operator.get(f"{ROUTE}/events?before={before}")
    assert (of_route.status_code, of_route.json()) == (200, {"events": []})


@pytest.mark.parametrize("bound", ["after=9999999999999999999-9999999999999999999", "after=0-0&before=0-0"])
async def test_a_page_beyond_the_ends_of_a_log_is_empty(operator: httpx.AsyncClient, bound: str) -> None:
    answer = await operator.get(f"{ROUTE}/events?{bound}")
    assert (answer.status_code, answer.json()) == (200, {"events": []})


@pytest.mark.parametrize("query", ["?limit=0", "?limit=many", "?before=x", "?after=1-1"])
async def test_a_question_that_is_none_is_refused(operator: httpx.AsyncClient, query: str) -> None:
    assert (await operator.get(f"{LOG}{query}")).status_code == 422


async def test_a_change_that_cannot_be_noted_is_no_failure() -> None:
    async with connect("redis://127.0.0.1:1/0", timeout=0.2) as nobody:
        await Audit(nobody).note("me", Area.MODELS, "load", "pets")


def test_two_changes_of_one_moment_are_not_parted_by_a_page() -> None:
    def change(change_id: str, subject: str) -> Change:
        return Change(
            id=change_id,
            at="2026-01-01T00:00:00Z",  # type: ignore[arg-type]
            area=Area.KEYS,
            action="create",
            subject=subject,
            actor="me",
        )

    found = newest(2, [change("7-0", "a"), change("10-0", "b"), change("7-0", "c"), change("6-9", "d")])
    assert [each.subject for each in found] == ["b", "a", "c"]
