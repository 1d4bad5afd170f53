"""Each thing that the gateway does with Redis, and the user of docs/access.md that may do it."""

import asyncio
import re
import shlex

import grpc
import httpx
from stack import ROOT
from support.fake_triton import CLASSIFIER, FakeTriton, config, failing
from support.pictures import encoded, photo

PNG = encoded(photo(20, 10))
PASSWORD = "a-password-of-this-test"


def documented_line() -> list[str]:
    """The words of the one ACL SETUSER command on the page, with a password in its place."""
    text = (ROOT / "docs" / "access.md").read_text()
    (command,) = re.findall(r"^\$ redis-cli (ACL SETUSER gateway on (?:.*\\\n)*.*)", text, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", ""))
    assert words.count(">…") == 1
    return [f">{PASSWORD}" if word == ">…" else word for word in words]


def documented_rights_of_clusters() -> list[str]:
    """What the page adds to that line for a cluster."""
    text = (ROOT / "docs" / "access.md").read_text()
    (rights,) = re.findall(r"^\$ redis-cli ACL SETUSER gateway (\+command .*)$", text, re.MULTILINE)
    return shlex.split(rights)


def two_versions() -> FakeTriton:
    """One that serves the model `pets` in two versions."""
    fake = FakeTriton()
    model = config("pets", CLASSIFIER, output=[3])
    model.version_policy.specific.versions.extend([1, 2])
    fake.models["pets"] = (model, ["1", "2"])
    return fake


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
