"""The door: credentials, scopes, models, quotas, tokens for pages and CORS, over HTTP with a real Redis."""

import asyncio
import json
import time

import grpc
import httpx
import pytest
import redis as blocking
from stack import Addresses, create_key
from support.fake_triton import CLASSIFIER, FakeTriton, config, failing, serving
from support.hostile import assert_problem
from support.pictures import encoded, photo
from support.serving import Serve, until_ready

from gateway.auth.store import KEYS

PNG = encoded(photo(20, 10))
RAW = {"content-type": "image/png"}
PAGE = "https://shop.example"


@pytest.fixture(scope="module")
def admin_key(redis: Addresses) -> str:
    return create_key(redis, "operators", "infer", "admin:keys")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def new_key(gateway: httpx.AsyncClient, admin_key: str, **wanted: object) -> tuple[str, str]:
    """Id and secret of a key made over the API, once this worker knows it."""
    document = {"tenant": "shop", "scopes": ["infer"], "tier": "premium", **wanted}
    answer = await gateway.post("/admin/v1/keys", json=document, headers={"x-api-key": admin_key})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    await until(gateway, body["key"], 200)
    return body["id"], body["key"]


async def until(gateway: httpx.AsyncClient, key: str, status: int, seconds: float = 2.0) -> float:
    """Waits until this key gets this status, and says how long that took."""
    started = time.monotonic()
    while (await gateway.get("/v1/models", headers={"x-api-key": key})).status_code != status:
        assert time.monotonic() - started < seconds
        await asyncio.sleep(0.02)
    return time.monotonic() - started


CALLS = [
    ("POST", "/v1/classify"),
    ("POST", "/v1/detect"),
    ("POST", "/classify"),
    ("POST", "/detect"),
    ("GET", "/v1/models"),
    ("POST", "/v1/tokens"),
    ("POST", "/admin/v1/keys"),
    ("GET", "/admin/v1/keys"),
    ("GET", "/admin/v1/keys/abcdefgh"),
    ("POST", "/admin/v1/keys/abcdefgh/rotate"),
    ("DELETE", "/admin/v1/keys/abcdefgh"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_without_credentials_every_call_is_401(
    gateway: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await gateway.request(method, path, headers={"x-api-key": ""}, content=b"")
    del gateway.headers["x-api-key"]
    nobody = await gateway.request(method, path)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "unauthenticated")
    assert answer.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/docs", "/docs/openapi.json", "/problems/invalid_key"]
)
async def test_health_and_pages_need_no_credentials(gateway: httpx.AsyncClient, path: str) -> None:
    del gateway.headers["x-api-key"]
    assert (await gateway.get(path)).status_code == 200


async def test_both_headers_carry_a_key_and_both_at_once_are_refused(
    gateway: httpx.AsyncClient, caller_key: str
) -> None:
    assert (await gateway.get("/v1/models")).status_code == 200
    both = await gateway.get("/v1/models", headers=bearer(caller_key))
    assert (both.status_code, both.json()["code"]) == (400, "ambiguous_credentials")
    del gateway.headers["x-api-key"]
    assert (await gateway.get("/v1/models", headers=bearer(caller_key))).status_code == 200


async def test_a_wrong_key_is_refused_before_the_body_is_read(
    gateway: httpx.AsyncClient, caller_key: str
) -> None:
    wrong = caller_key[:-1] + ("a" if caller_key[-1] != "a" else "b")
    answer = await gateway.post(
        "/v1/classify", content=b"no image", headers={"content-type": "text/plain", "x-api-key": wrong}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")


@pytest.mark.parametrize(("method", "path"), [call for call in CALLS if call[1].startswith("/admin")])
async def test_the_administration_needs_its_scope(gateway: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await gateway.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_key_is_made_listed_rotated_and_revoked(gateway: httpx.AsyncClient, admin_key: str) -> None:
    key_id, first = await new_key(gateway, admin_key, models=["pets"], priority_ceiling="batch")
    admin = {"x-api-key": admin_key}
    shown = (await gateway.get(f"/admin/v1/keys/{key_id}", headers=admin)).json()
    assert shown["models"] == ["pets"]
    assert shown["priority_ceiling"] == "batch"
    assert "key" not in shown
    listed = (await gateway.get("/admin/v1/keys", headers=admin)).text
    assert key_id in listed
    assert first not in listed

    rotated = await gateway.post(f"/admin/v1/keys/{key_id}/rotate", json={"overlap": 60}, headers=admin)
    assert rotated.status_code == 201
    second = rotated.json()["key"]
    await until(gateway, second, 200)
    assert (await gateway.get("/v1/models", headers={"x-api-key": first})).status_code == 200

    revoked = await gateway.delete(f"/admin/v1/keys/{key_id}", headers=admin)
    assert revoked.status_code == 204
    assert await until(gateway, second, 401) < 2.0
    assert await until(gateway, first, 401) < 2.0
    again = await gateway.post(f"/admin/v1/keys/{key_id}/rotate", json={}, headers=admin)
    assert (again.status_code, again.json()["code"]) == (409, "key_conflict")


async def test_a_key_that_cannot_be_read_any_more_is_told_and_can_be_revoked(
    gateway: httpx.AsyncClient, redis: Addresses, admin_key: str
) -> None:
    key_id, key = await new_key(gateway, admin_key)
    admin = {"x-api-key": admin_key}
    spoil(redis, key_id)
    for method, path in (("GET", f"/admin/v1/keys/{key_id}"), ("POST", f"/admin/v1/keys/{key_id}/rotate")):
        answer = await gateway.request(method, path, headers=admin)
        assert_problem(answer, 409, "key_conflict")
        assert "only be revoked" in answer.json()["detail"]
    assert (await gateway.get("/admin/v1/keys", headers=admin)).json()["unreadable"] == [key_id]
    assert (await gateway.delete(f"/admin/v1/keys/{key_id}", headers=admin)).status_code == 204
    assert await until(gateway, key, 401) < 2.0
    left = (await gateway.get("/admin/v1/keys", headers=admin)).json()
    assert left["unreadable"] == []
    assert key_id in [each["id"] for each in left["keys"] if each["revoked_at"]]


def spoil(redis: Addresses, key_id: str) -> None:
    """Cuts off what Redis holds of a key."""
    client = blocking.Redis(redis.redis_address, port=redis.redis_port)
    client.hset(KEYS, key_id, client.hget(KEYS, key_id)[:40])


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"scopes": ["root"]}, "/scopes"),
        ({"tier": "gold"}, "/tier"),
        ({"models": []}, "/models"),
        ({"tenant": ""}, "/tenant"),
        ({"priority_ceiling": "urgent"}, "/priority_ceiling"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59.999999+00:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+23:59"}, "/expires_at"),
        ({"owner": "me"}, "/owner"),
        ({"rate_limit": {"limit": 10**400}}, "/rate_limit/limit"),
        ({"rate_limit": {"limit": 1, "period": 10**400}}, "/rate_limit/period"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_its_field(
    gateway: httpx.AsyncClient, admin_key: str, wrong: dict[str, object], pointer: str
) -> None:
    document = {"tenant": "shop", "scopes": ["infer"], **wrong}
    answer = await gateway.post("/admin/v1/keys", json=document, headers={"x-api-key": admin_key})
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/tokens"),
        ("POST", "/admin/v1/keys"),
        ("POST", "/admin/v1/keys/abcdefgh/rotate"),
        ("PUT", "/admin/v1/canaries/pets"),
        ("POST", "/admin/v1/canaries/pets/rollback"),
        ("POST", "/admin/v1/models/pets/load"),
    ],
)
async def test_what_administers_is_small(
    gateway: httpx.AsyncClient, redis: Addresses, method: str, path: str
) -> None:
    """It is parsed in the event loop, where others wait for it."""
    headers = await administrator(gateway, redis, "infer", "admin:keys", "admin:canary", "admin:models")
    headers |= {"if-match": '"0"', "content-type": "application/json"}
    long = b" " * 256 * 1024 + b"{}"
    many = json.dumps({f"{number:x}": 0 for number in range(10_001)}).encode()
    for body in (long, many):
        answer = await gateway.request(method, path, content=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_model_that_a_key_may_not_use_looks_like_one_that_does_not_exist(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    _, key = await new_key(gateway, admin_key, models=["finder"])
    headers = {**RAW, "x-api-key": key}
    forbidden = await gateway.post("/v1/classify?model=pets", content=PNG, headers=headers)
    unknown = await gateway.post("/v1/classify?model=nothing", content=PNG, headers=headers)
    assert forbidden.status_code == unknown.status_code == 404
    hidden = ("request_id",)
    assert {k: v for k, v in forbidden.json().items() if k not in hidden} == {
        k: v for k, v in unknown.json().items() if k not in hidden
    }
    names = [model["name"] for model in (await gateway.get("/v1/models", headers=headers)).json()["models"]]
    assert names == ["finder"]


async def test_pinning_a_version_needs_its_scope(gateway: httpx.AsyncClient, admin_key: str) -> None:
    _, key = await new_key(gateway, admin_key)
    answer = await gateway.post("/v1/classify?version=2", content=PNG, headers={**RAW, "x-api-key": key})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_spent_quota_is_429_with_the_seconds_to_wait_and_the_state_on_every_answer(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    _, key = await new_key(gateway, admin_key, rate_limit={"limit": 1, "period": 1000, "burst": 40})
    headers = {**RAW, "x-api-key": key}
    answers = [await gateway.post("/v1/classify", content=PNG, headers=headers) for _ in range(42)]
    last = answers[-1]
    assert answers[0].status_code == 200
    assert '"key";q=1;w=1000' in answers[0].headers["ratelimit-policy"]
    assert answers[0].headers["ratelimit"].startswith('"key";r=')
    assert (last.status_code, last.json()["code"]) == (429, "rate_limited")
    assert 900 < int(last.headers["retry-after"]) <= 1000


async def test_who_calls_often_is_told_of_the_key_s_bound_and_never_more_than_it_holds(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    _, key = await new_key(gateway, admin_key, tier="premium")
    told = [
        (await gateway.get("/v1/models", headers={"x-api-key": key})).headers["ratelimit"] for _ in range(300)
    ]
    assert {each.split(";")[0] for each in told} == {'"key"'}
    assert max(int(each.split("r=")[1].split(";")[0]) for each in told) <= 1000


async def test_each_image_of_a_request_costs_a_unit(gateway: httpx.AsyncClient, admin_key: str) -> None:
    _, key = await new_key(gateway, admin_key, rate_limit={"limit": 1, "period": 1000, "burst": 100})

    def left(answer: httpx.Response) -> int:
        return int(answer.headers["ratelimit"].split("r=")[1].split(";")[0])

    listed = await gateway.get("/v1/models", headers={"x-api-key": key})
    files = [("image", PNG)] * 8
    answer = await gateway.post("/v1/classify", files=files, headers={"x-api-key": key})
    assert left(answer) == left(listed) - 8
    assert answer.headers["ratelimit-policy"] == listed.headers["ratelimit-policy"]
    assert '"in-flight"' in answer.headers["ratelimit-policy"]


async def test_a_request_that_is_refused_for_its_price_has_paid_nothing_for_any_part_of_it(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    _, key = await new_key(gateway, admin_key, rate_limit={"limit": 1, "period": 1000, "burst": 10})
    headers = {"x-api-key": key}
    while '"key";r=6;' not in (await gateway.get("/v1/models", headers=headers)).headers["ratelimit"]:
        pass

    async def classify(images: int) -> httpx.Response:
        return await gateway.post("/v1/classify", files=[("image", PNG)] * images, headers=headers)

    refused = [await classify(8) for _ in range(4)]
    assert [(each.status_code, each.json()["code"]) for each in refused] == [(429, "rate_limited")] * 4
    waits = [int(each.headers["retry-after"]) for each in refused]
    assert waits == sorted(waits, reverse=True)
    assert (await classify(11)).status_code == 413
    assert (await classify(6)).status_code == 200


async def test_one_image_beyond_what_the_quota_ever_holds_is_told_its_price_and_the_bound(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    _, key = await new_key(gateway, admin_key, rate_limit={"limit": 10, "period": 1, "burst": 3})
    large = encoded(photo(2000, 1600), "JPEG")
    answer = await gateway.post("/v1/classify", content=large, headers={**RAW, "x-api-key": key})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.json()["detail"] == (
        "This request costs 4 units, and your quota (key) never holds more than 3 at once: "
        "send fewer or smaller inputs."
    )
    assert "retry-after" not in answer.headers


async def test_what_a_request_costs_that_is_not_answered(
    gateway: httpx.AsyncClient, admin_key: str, triton: FakeTriton
) -> None:
    """The table of docs/access.md."""
    _, key = await new_key(gateway, admin_key, rate_limit={"limit": 1, "period": 1000, "burst": 100})
    mine = {"x-api-key": key}
    large = encoded(photo(1600, 1300))  # a price of three

    async def left() -> int:
        answer = await gateway.get("/v1/models", headers=mine)
        return int(answer.headers["ratelimit"].split("r=")[1].split(";")[0])

    async def spent(method: str, path: str, status: int, content: bytes = b"", **more: str) -> int:
        before = await left()
        answer = await gateway.request(method, path, content=content, headers={**RAW, **mine, **more})
        assert answer.status_code == status, answer.text
        return before - await left() - 1

    assert await spent("GET", "/v1/nothing", 404) == 0
    assert await spent("GET", "/admin/v1/keys", 403) == 0
    assert await spent("GET", "/v1/models", 400, **bearer(key)) == 0
    assert await spent("GET", "/v1/models", 200) == 1
    assert await spent("POST", "/v1/classify", 415, large, **{"content-type": "text/plain"}) == 1
    assert await spent("POST", "/v1/classify", 400, b"{", **{"content-type": "application/json"}) == 1
    assert await spent("POST", "/v2/models/nobody/infer", 404, large) == 1
    assert await spent("POST", "/v1/classify?model=nobody", 404, large) == 3
    assert await spent("POST", "/v1/classify?version=1", 403, large) == 3
    assert await spent("POST", "/v1/classify", 422, large[: len(large) // 2]) == 3
    triton.infer = failing(grpc.StatusCode.INTERNAL, "broken")
    assert await spent("POST", "/v1/classify", 502, large) == 3
    triton.infer = failing(grpc.StatusCode.PERMISSION_DENIED, "not you")
    assert await spent("POST", "/v1/classify", 502, large) == 0
    triton.infer = failing(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
    assert await spent("POST", "/v1/classify", 503, large) == 0


async def test_the_class_that_was_applied_is_told_and_never_above_the_ceiling(
    gateway: httpx.AsyncClient, admin_key: str, triton: FakeTriton
) -> None:
    _, key = await new_key(gateway, admin_key, priority_ceiling="standard")
    headers = {**RAW, "x-api-key": key}
    for asked, told, level in (("u=0", "u=3", 2), ("u=7", "u=5", 3), ("nonsense", "u=3", 2)):
        answer = await gateway.post("/v1/classify", content=PNG, headers={**headers, "priority": asked})
        assert answer.headers["priority"] == told
        assert triton.requests[-1].parameters["priority"].uint64_param == level
        assert triton.requests[-1].parameters["timeout"].int64_param > 0


@pytest.mark.parametrize("text", ["0", "-1", "abc", "1.5", ""])
async def test_a_deadline_that_is_none_is_refused(gateway: httpx.AsyncClient, text: str) -> None:
    answer = await gateway.post("/v1/classify", content=PNG, headers={**RAW, "x-request-timeout": text})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_a_deadline_beyond_the_bound_is_shortened(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.post(
        "/v1/classify", content=PNG, headers={**RAW, "x-request-timeout": "1000000000000"}
    )
    assert answer.status_code == 200


async def test_a_token_for_pages_works_from_its_origin_only_and_dies_with_its_key(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    key_id, key = await new_key(gateway, admin_key)
    made = await gateway.post("/v1/tokens", json={"origins": [PAGE]}, headers={"x-api-key": key})
    assert made.status_code == 201
    token = made.json()["token"]
    del gateway.headers["x-api-key"]

    async def status(origin: str | None) -> int:
        headers = bearer(token) | ({"origin": origin} if origin else {})
        return (await gateway.get("/v1/models", headers=headers)).status_code

    assert await status(PAGE) == 200
    assert await status("https://evil.example") == 401
    assert await status(None) == 401
    nested = await gateway.post(
        "/v1/tokens", json={"origins": [PAGE]}, headers={**bearer(token), "origin": PAGE}
    )
    assert nested.status_code == 403
    await gateway.delete(f"/admin/v1/keys/{key_id}", headers={"x-api-key": admin_key})
    end = time.monotonic() + 2
    while await status(PAGE) != 401:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def test_what_an_old_secret_made_ends_with_it_and_the_new_one_counts_at_once(
    gateway: httpx.AsyncClient, admin_key: str
) -> None:
    admin = {"x-api-key": admin_key}
    key_id, old = await new_key(gateway, admin_key, scopes=["infer", "admin:keys"])
    del gateway.headers["x-api-key"]

    async def made_by(key: str) -> tuple[dict[str, str], dict[str, str]]:
        token = await gateway.post("/v1/tokens", json={"origins": [PAGE]}, headers={"x-api-key": key})
        signed_in = await gateway.post("/console/session", headers={"x-api-key": key})
        assert (token.status_code, signed_in.status_code) == (201, 201)
        gateway.cookies.clear()
        cookie = signed_in.headers["set-cookie"].split(";")[0]
        session = {"cookie": cookie, "x-console": "1", "sec-fetch-site": "same-origin"}
        return bearer(token.json()["token"]) | {"origin": PAGE}, session

    async def statuses(token: dict[str, str], session: dict[str, str]) -> list[int]:
        asked = (("/v1/models", token), ("/admin/v1/keys", session))
        return [(await gateway.get(path, headers=headers)).status_code for path, headers in asked]

    before = await made_by(old)
    assert await statuses(*before) == [200, 200]
    rotated = await gateway.post(f"/admin/v1/keys/{key_id}/rotate", json={"overlap": 0}, headers=admin)
    assert await statuses(*before) == [401, 401]
    after = await made_by(rotated.json()["key"])
    assert await statuses(*after) == [200, 200]


async def test_a_page_of_the_gateways_own_host_is_known_by_its_address(gateway: httpx.AsyncClient) -> None:
    """Browsers send no Origin with a GET to a page's own host."""
    made = await gateway.post("/v1/tokens", json={"origins": [PAGE]})
    gateway.headers.pop("x-api-key")

    async def status(**headers: str) -> int:
        return (await gateway.get("/v1/models", headers=bearer(made.json()["token"]) | headers)).status_code

    assert await status(referer=f"{PAGE}/playground?q=1") == 200
    assert await status(referer="https://evil.example/") == 401
    assert await status(referer="nonsense") == 401
    assert await status(referer=f"{PAGE}/", origin="https://evil.example") == 401


async def test_cors_is_for_exact_origins_and_preflights_need_no_credentials(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url, cors_origins=PAGE) as client:
        await until_ready(client)
        key = client.headers.pop("x-api-key")
        asked = {
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": "traceparent,tracestate,x-api-key",
        }
        preflight = await client.options("/v1/classify", headers=asked)
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == PAGE
        answer = await client.post(
            "/v1/classify", content=PNG, headers={**RAW, "x-api-key": key, "origin": PAGE}
        )
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].lower()
        assert all(
            name in exposed for name in ("ratelimit", "retry-after", "x-request-id", "x-model-version")
        )
        for evil in ("https://shop.example.evil.test", "https://shopXexample", "null", "http://shop.example"):
            refused = await client.post(
                "/v1/classify", content=PNG, headers={**RAW, "x-api-key": key, "origin": evil}
            )
            assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"origin": "https://evil.example"}, "GATEWAY_CORS_ORIGINS"),
        ({"access-control-request-method": "PATCH"}, "DELETE, GET, HEAD, POST"),
        ({"access-control-request-headers": "x-api-key,x-shop"}, "X-API-Key"),
    ],
    ids=["origin", "method", "header"],
)
async def test_a_preflight_that_is_refused_says_what_for(
    triton: FakeTriton, serve: Serve, changed: dict[str, str], detail: str
) -> None:
    asked = {"origin": PAGE, "access-control-request-method": "POST"}
    async with serving(triton) as url, serve(url, cors_origins=PAGE) as client:
        refused = await client.options("/v1/classify", headers=asked | changed)
        assert_problem(refused, 403, "forbidden")
        assert detail in refused.json()["detail"]
        assert "access-control-allow-methods" not in refused.headers


async def test_without_pages_a_preflight_is_refused_and_says_how_to_let_them_in(
    triton: FakeTriton, serve: Serve
) -> None:
    asked = {"origin": PAGE, "access-control-request-method": "POST"}
    async with serving(triton) as url, serve(url) as client:
        refused = await client.options("/v1/classify", headers=asked)
        assert_problem(refused, 403, "forbidden")
        assert not [name for name in refused.headers if name.startswith("access-control")]


async def test_a_cache_keeps_the_answers_to_pages_apart_where_some_may_call(
    triton: FakeTriton, serve: Serve
) -> None:
    async with serving(triton) as url, serve(url, cors_origins=PAGE) as client:
        for headers in ({"origin": PAGE}, {"origin": "https://evil.example"}, {}):
            assert (await client.get("/v1/models", headers=headers)).headers["vary"] == "Origin"
    async with serving(triton) as url, serve(url) as client:
        assert "vary" not in (await client.get("/v1/models", headers={"origin": PAGE})).headers


async def test_a_page_can_read_its_refusals_and_when_to_come_back(triton: FakeTriton, serve: Serve) -> None:
    async with serving(triton) as url, serve(url, cors_origins=PAGE) as client:
        await until_ready(client)
        key = client.headers.pop("x-api-key")
        wrong = {"x-api-key": key[:-1] + "~", "origin": PAGE}
        answers = [await client.get("/v1/models", headers=wrong) for _ in range(21)]
        answers.append(await client.get("/nowhere", headers={"origin": PAGE}))
        answers.append(await client.get("/v1/classify", headers={"origin": PAGE}))
        answers.append(await client.get("/v1//models", headers={"origin": PAGE}))
        answers.append(await client.get("/livez", headers={"origin": PAGE, "x-much": "x" * 40_000}))
        assert [answer.status_code for answer in answers[19:]] == [401, 429, 404, 405, 404, 431]
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "retry-after" in answer.headers["access-control-expose-headers"].lower()


async def administrator(gateway: httpx.AsyncClient, redis: Addresses, *scopes: str) -> dict[str, str]:
    """The header of a new key with exactly these scopes, once this worker knows it."""
    key = await asyncio.to_thread(create_key, redis, "operators", *scopes)
    await until(gateway, key, 403 if set(scopes) == {"admin:keys"} else 200)
    return {"x-api-key": key}


@pytest.mark.parametrize(
    ("held", "wanted", "named"),
    [
        (["admin:keys"], {"scopes": ["infer"]}, "infer"),
        (["admin:keys", "infer:pets"], {"scopes": ["infer:pets", "infer:finder"]}, "infer:finder"),
        (["admin:keys", "infer"], {"scopes": ["infer", "admin:models"]}, "admin:models"),
    ],
)
async def test_who_makes_keys_gives_only_what_it_holds(
    gateway: httpx.AsyncClient, redis: Addresses, held: list[str], wanted: dict[str, object], named: str
) -> None:
    admin = await administrator(gateway, redis, *held)
    answer = await gateway.post("/admin/v1/keys", json={"tenant": "shop", **wanted}, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["detail"].endswith(f" {named}.")
    own = {"tenant": "shop", "scopes": ["admin:keys"], "tier": "premium", "priority_ceiling": "interactive"}
    assert (await gateway.post("/admin/v1/keys", json=own, headers=admin)).status_code == 201


async def test_nobody_gets_a_stronger_keys_secret_by_rotating_it(
    gateway: httpx.AsyncClient, admin_key: str, redis: Addresses
) -> None:
    key_id, key = await new_key(gateway, admin_key)
    weak = await administrator(gateway, redis, "admin:keys")
    answer = await gateway.post(f"/admin/v1/keys/{key_id}/rotate", json={}, headers=weak)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await gateway.get("/v1/models", headers={"x-api-key": key})).status_code == 200
    assert (await gateway.delete(f"/admin/v1/keys/{key_id}", headers=weak)).status_code == 204


@pytest.mark.parametrize(
    ("scopes", "models", "named"),
    [
        (["admin:keys", "admin:models"], None, "the scope admin:models"),
        (["admin:keys", "infer:pets"], None, "these models"),
        (["admin:canary"], ["pets"], "the scope admin:canary"),
    ],
)
async def test_who_administers_is_not_shut_out_by_who_holds_less(
    gateway: httpx.AsyncClient, redis: Addresses, scopes: list[str], models: list[str] | None, named: str
) -> None:
    strong = await administrator(gateway, redis, "infer", "admin:keys", "admin:models", "admin:canary")
    narrow = {"tenant": "shop", "scopes": ["infer:pets", "admin:keys"], "models": ["pets"]}
    weak = {"x-api-key": (await gateway.post("/admin/v1/keys", json=narrow, headers=strong)).json()["key"]}
    wanted = {"tenant": "shop", "scopes": scopes, "models": models}
    made = (await gateway.post("/admin/v1/keys", json=wanted, headers=strong)).json()
    path = f"/admin/v1/keys/{made['id']}"
    answer = await gateway.delete(path, headers=weak)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert named in answer.json()["detail"]
    assert (await gateway.get(path, headers=strong)).json()["revoked_at"] is None
    spoil(redis, made["id"])
    assert (await gateway.delete(path, headers=weak)).status_code == 403
    assert (await gateway.delete(path, headers=strong)).status_code == 204


async def test_who_administers_may_revoke_its_own_key(gateway: httpx.AsyncClient, redis: Addresses) -> None:
    own = await administrator(gateway, redis, "infer:pets", "admin:keys")
    key_id = own["x-api-key"].split("_")[2]
    assert (await gateway.delete(f"/admin/v1/keys/{key_id}", headers=own)).status_code == 204


async def test_a_key_never_shows_in_a_problem_or_the_description(
    gateway: httpx.AsyncClient, caller_key: str
) -> None:
    for answer in (
        await gateway.get("/nowhere"),
        await gateway.post("/v1/classify", content=b"x", headers=RAW),
        await gateway.get("/docs/openapi.json"),
    ):
        assert caller_key not in answer.text + json.dumps(dict(answer.headers))


@pytest.fixture
async def triton() -> FakeTriton:
    fake = FakeTriton()
    fake.models["pets"] = (config("pets", CLASSIFIER, output=[3]), ["1", "2"])
    fake.models["finder"] = (config("finder", {**CLASSIFIER, "gateway.default": "false"}, output=[3]), ["1"])
    return fake


ADMINISTRATION = [
    ("GET", "/admin/v1/canaries/{model}"),
    ("PUT", "/admin/v1/canaries/{model}"),
    ("PATCH", "/admin/v1/canaries/{model}"),
    ("DELETE", "/admin/v1/canaries/{model}"),
    *(("GET", f"/admin/v1/canaries/{{model}}/{what}") for what in ("report", "events", "callers")),
    *(("POST", f"/admin/v1/canaries/{{model}}/{what}") for what in ("check", "promote", "rollback", "undo")),
    ("GET", "/admin/v1/models/{model}"),
    *(("POST", f"/admin/v1/models/{{model}}/{what}") for what in ("load", "unload", "heal")),
]


async def test_a_key_s_models_are_those_that_it_administers(
    gateway: httpx.AsyncClient, redis: Addresses
) -> None:
    whole = await administrator(gateway, redis, "infer", "admin:keys", "admin:canary", "admin:models")
    scopes = ["infer", "admin:canary", "admin:models"]
    _, key = await new_key(gateway, whole["x-api-key"], scopes=scopes, models=["finder"])
    mine = {"x-api-key": key}
    for method, path in ADMINISTRATION:
        for model in ("pets", "nothing"):
            answer = await gateway.request(method, path.format(model=model), headers=mine)
            assert_problem(answer, 404, "model_not_found")
    for path in ("/admin/v1/canaries/finder", "/admin/v1/models/finder"):
        assert (await gateway.get(path, headers=mine)).status_code == 200
    routes = (await gateway.get("/admin/v1/canaries", headers=mine)).json()["canaries"]
    assert [route["model"] for route in routes] == ["finder"]
    models = (await gateway.get("/admin/v1/models", headers=mine)).json()["models"]
    assert [model["name"] for model in models] == ["finder"]


async def test_a_key_s_models_are_those_whose_changes_it_sees(
    gateway: httpx.AsyncClient, redis: Addresses
) -> None:
    whole = await administrator(gateway, redis, "infer", "admin:keys", "admin:canary", "admin:models")
    _, key = await new_key(
        gateway, whole["x-api-key"], scopes=["infer", "admin:canary", "admin:models"], models=["finder"]
    )
    for model in ("pets", "finder"):
        tag = (await gateway.get(f"/admin/v1/canaries/{model}", headers=whole)).headers["etag"]
        headers = {**whole, "if-match": tag}
        put = await gateway.put(f"/admin/v1/canaries/{model}", json={"stable": "1"}, headers=headers)
        assert put.status_code == 200, put.text
        await gateway.post(f"/admin/v1/models/{model}/load", headers=whole)
    for headers, told in ((whole, {"pets", "finder"}), ({"x-api-key": key}, {"finder"})):
        changes = (await gateway.get("/admin/v1/audit", headers=headers)).json()["changes"]
        for area in ("canaries", "models"):
            assert {each["subject"] for each in changes if each["area"] == area} == told
        async with gateway.stream("GET", "/admin/v1/events", headers=headers) as stream:
            heard = stream.aiter_lines()
            assert await anext(heard) == "event: models"
            assert json.loads((await anext(heard)).removeprefix("data: "))["models"].keys() == told
        workers = (await gateway.get("/admin/v1/workers", headers=headers)).json()["workers"]
        assert {model for each in workers for model in each["generations"]} <= told


async def test_an_ensemble_with_a_step_of_others_is_not_healed(
    triton: FakeTriton, gateway: httpx.AsyncClient, redis: Addresses
) -> None:
    triton.models["finder"][0].ensemble_scheduling.step.add(model_name="pets", model_version=1)
    triton.order_error = None
    whole = await administrator(gateway, redis, "infer", "admin:keys", "admin:models")
    _, key = await new_key(gateway, whole["x-api-key"], scopes=["infer", "admin:models"], models=["finder"])
    while not (await gateway.get("/admin/v1/models/pets", headers=whole)).json()["needed"]:
        pass
    answer = await gateway.post("/admin/v1/models/finder/heal", headers={"x-api-key": key})
    assert_problem(answer, 403, "forbidden")
    assert "pets" in answer.json()["detail"]
