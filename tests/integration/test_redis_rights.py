"""The whole gateway as the Redis user of docs/access.md: nothing is refused to it, and nothing is granted in vain."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
import redis as blocking
from processes import running, wait_listening
from stack import ADMINISTRATION, ROOT, Addresses, create_key, free_addresses
from stack import redis as redis_part
from support.fake_triton import CLASSIFIER, FakeTriton, config, failing, serving
from support.pictures import encoded, photo
from support.serving import served, until_ready

PNG = encoded(photo(20, 10))
PASSWORD = "a-password-of-this-test"


def documented_line() -> list[str]:
    """The words of the one ACL SETUSER command on the page, with a password in its place."""
    text = (ROOT / "docs" / "access.md").read_text()
    (command,) = re.findall(r"^\$ redis-cli (ACL SETUSER (?:.*\\\n)*.*)", text, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", ""))
    assert words.count(">…") == 1
    return [f">{PASSWORD}" if word == ">…" else word for word in words]


@pytest.fixture
def own_redis() -> Iterator[Addresses]:
    at = free_addresses()
    with running(redis_part(at)):
        wait_listening(at.redis_address, at.redis_port)
        yield at


def admin_of(at: Addresses) -> Any:
    return blocking.Redis(at.redis_address, port=at.redis_port, decode_responses=True)


async def everything(gateway: httpx.AsyncClient, triton: FakeTriton) -> None:
    """Each thing that the gateway does with Redis, at least once."""
    made = await gateway.post("/admin/v1/keys", json={"tenant": "shop", "scopes": ["infer"], "tier": "free"})
    assert made.status_code == 201, made.text
    key = {"x-api-key": made.json()["key"]}
    image = {**key, "content-type": "image/png"}
    works, triton.infer = triton.infer, failing(grpc.StatusCode.INTERNAL, "out of order")
    assert (await gateway.post("/v1/classify", content=PNG, headers=image)).status_code == 502  # given back
    triton.infer = works
    assert (await gateway.post("/v1/classify", content=PNG, headers=image)).status_code == 200
    files = [("image", PNG)] * 2
    assert (await gateway.post("/v1/classify", files=files, headers=key)).status_code == 200
    page = {"origins": ["https://shop.example"]}
    token = (await gateway.post("/v1/tokens", json=page, headers=key)).json()
    assert (await gateway.delete(f"/admin/v1/tokens/{token['id']}")).status_code == 204
    where = f"/admin/v1/keys/{made.json()['id']}"
    assert (await gateway.post(f"{where}/rotate", json={"overlap": 60})).status_code == 201
    assert (await gateway.get(where)).status_code == 200
    assert (await gateway.delete(where)).status_code == 204
    assert len((await gateway.get("/admin/v1/keys")).json()["keys"]) == 2
    await a_rollout(gateway)
    parts = (await gateway.get("/readyz")).json()["parts"]
    assert all(parts.values()), parts


async def a_rollout(gateway: httpx.AsyncClient) -> None:
    """A mirrored one, up to the log that tells of it."""
    route = "/admin/v1/canaries/pets"
    wanted = {"stable": "1", "canary": "2", "weight": 0, "mirror": 10_000}
    tag = (await gateway.get(route)).headers["etag"]
    put = await gateway.put(route, json=wanted, headers={"if-match": tag})
    assert put.status_code == 200, put.text
    answered = await gateway.post("/v1/classify", content=PNG, headers={"content-type": "image/png"})
    assert answered.status_code == 200
    async with asyncio.timeout(5):
        while not (await gateway.get(f"{route}/report")).json()["agreement"]["compared"]:
            await asyncio.sleep(0.1)
    assert (await gateway.post(f"{route}/rollback")).status_code == 200
    newest = (await gateway.get(f"{route}/events")).json()["events"][0]
    assert newest["action"] == "rollback"
    assert (await gateway.get(f"{route}/events?after={newest['id']}")).json()["events"] == []


async def test_the_documented_user_is_enough_for_everything_and_has_no_right_to_spare(
    own_redis: Addresses,
) -> None:
    fake = FakeTriton()
    model = config("pets", CLASSIFIER, output=[3])
    model.version_policy.specific.versions.extend([1, 2])
    fake.models["pets"] = (model, ["1", "2"])
    admin = admin_of(own_redis)
    line = documented_line()
    admin.execute_command(*line)
    key = await asyncio.to_thread(create_key, own_redis, "operators", *ADMINISTRATION)
    admin.execute_command("CONFIG", "RESETSTAT")
    admin.execute_command("SCRIPT", "FLUSH")
    url = f"redis://{line[2]}:{PASSWORD}@{own_redis.redis_address}:{own_redis.redis_port}/0"
    async with serving(fake) as triton, served(own_redis, key, triton, redis_url=url) as gateway:
        await until_ready(gateway)
        await everything(gateway, fake)
    used = {name.removeprefix("cmdstat_").split("|")[0] for name in admin.info("commandstats")}
    assert admin.execute_command("ACL", "LOG") == []
    granted = {word[1:].split("|")[0] for word in line if word.startswith("+")}
    assert granted - used == set()


@pytest.mark.parametrize(
    "command",
    [
        ["KEYS", "*"],
        ["FLUSHALL"],
        ["CONFIG", "GET", "*"],
        ["ACL", "LIST"],
        ["EVAL", "return 1", "0"],
        ["GET", "other"],
        ["HGETALL", "gwx:keys"],
        ["PUBLISH", "other", "x"],
        ["SCRIPT", "FLUSH"],
        ["DEL", "{other}"],
    ],
    ids=" ".join,
)
def test_the_documented_user_may_do_nothing_else(own_redis: Addresses, command: list[str]) -> None:
    line = documented_line()
    admin_of(own_redis).execute_command(*line)
    user = blocking.Redis(
        own_redis.redis_address, port=own_redis.redis_port, username=line[2], password=PASSWORD
    )
    with pytest.raises(blocking.exceptions.NoPermissionError):
        user.execute_command(*command)
