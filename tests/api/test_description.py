"""The API's description against what the gateway does: who may call, which headers count, what answers carry."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import validate
from stack import Addresses, create_key
from support.guarded import PAGE, Guarded
from support.pictures import encoded, photo
from support.serving import Serve

from gateway.api.problems import KINDS

PNG = encoded(photo(20, 10))
TENSOR = {"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 3, 8, 8], "data": [0] * 192}]}
Described = Mapping[str, Any]
DESCRIPTION = "/docs/openapi.json"


@pytest.fixture(scope="module")
def operator(redis: Addresses) -> dict[str, str]:
    """The header of a key that may do everything."""
    scopes = ("infer", "pin-version", "admin:keys", "admin:canary", "admin:models")
    return {"x-api-key": create_key(redis, "operators", *scopes)}


@pytest.fixture(scope="module")
def poor(redis: Addresses) -> dict[str, str]:
    """The header of a key that is good for one request."""
    return {"x-api-key": create_key(redis, "poor", "infer", rate="1/1000:1")}


@pytest.fixture(scope="module")
def callers(guarded: Guarded) -> Iterator[httpx.Client]:
    """A client without a credential, for a gateway that knows some."""
    with guarded.client("127.0.0.1") as client:
        yield client


def operations(document: Described) -> Iterator[tuple[str, str, Described]]:
    """Method, path and description of each."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def ways_in(document: Described, operation: Described) -> Sequence[Mapping[str, Sequence[str]]]:
    ways: Sequence[Mapping[str, Sequence[str]]] = operation.get("security", document["security"])
    return ways


def resolved(document: Described, node: Described) -> Described:
    """What the node refers to, or itself."""
    found: Any = node
    while "$ref" in found:
        _, *names = found["$ref"].split("/")
        found = document
        for name in names:
            found = found[name]
    described: Described = found
    return described


def address_of(path: str, **names: str) -> str:
    """The path with these names in the place of its parameters; by the others nothing is known."""
    return re.sub(r"\{([a-z_]+)\}", lambda match: names.get(match[1], "Zz00zZ11"), path)


async def test_the_description_is_valid_openapi_and_names_every_schema_it_uses(
    gateway: httpx.AsyncClient,
) -> None:
    document = (await gateway.get("/docs/openapi.json")).json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    body = document["paths"]["/v1/classify"]["post"]["requestBody"]["content"]
    assert set(body) == {"image/jpeg", "image/png", "image/webp", "multipart/form-data", "application/json"}
    assert body["application/json"]["schema"] == {"$ref": "#/components/schemas/ClassifyRequest"}
    assert _references(document) <= {
        f"#/components/{kind}/{name}" for kind, named in document["components"].items() for name in named
    }


async def test_what_stands_in_a_path_is_a_string_that_is_needed(gateway: httpx.AsyncClient) -> None:
    """Generators of clients leave out operations whose path may lack a part."""
    document = (await gateway.get(DESCRIPTION)).json()
    for method, path, operation in operations(document):
        found = [each for each in operation["parameters"] if each.get("in") == "path"]
        assert {each["name"] for each in found} == set(re.findall(r"{([a-z_]+)}", path)), (method, path)
        for each in found:
            assert (each["required"], each["schema"]["type"]) == (True, "string"), (method, path, each)


async def test_every_operation_shows_examples_of_its_bodies_and_of_every_problem(
    gateway: httpx.AsyncClient,
) -> None:
    document = (await gateway.get("/docs/openapi.json")).json()
    components = {"components": document["components"]}
    for method, path, operation in operations(document):
        answers = {status: resolved(document, answer) for status, answer in operation["responses"].items()}
        bodies = [operation.get("requestBody", {}), *answers.values()]
        for content in [body.get("content", {}) for body in bodies]:
            for media in content.values():
                for example in media.get("examples", {}).values():
                    jsonschema.validate(example["value"], {**components, **media["schema"]})
        asked = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert asked is None or _explains_itself(asked, document), (method, path)
        for status, answer in answers.items():
            problem = answer.get("content", {}).get("application/problem+json")
            codes = {code for code, kind in KINDS.items() if str(kind.status) == status}
            assert problem is None or set(problem["examples"]) == codes, (method, path, status)
        if not path.endswith(("z", "/health/live", "/health/ready")):
            assert set(answers) >= {"400", "401", "403", "429", "500", "503"}, (method, path)
        successes = [answer for status, answer in answers.items() if status.startswith("2")]
        assert successes, (method, path)
        for answer in successes:
            shown = [media for media in answer.get("content", {}).values() if "examples" in media]
            assert shown or "content" not in answer, (method, path)


async def test_what_triton_is_asked_for_may_come_too_late(gateway: httpx.AsyncClient) -> None:
    paths = (await gateway.get("/docs/openapi.json")).json()["paths"]
    late = {path for path, methods in paths.items() if "504" in methods.get("get", {}).get("responses", {})}
    models = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
    asked = {
        "/v2/models/stats",
        *models,
        *(f"{model}/{each}" for model in models for each in ("config", "stats")),
    }
    assert {path for path in late if path.startswith("/v2")} == asked


def begun(client: httpx.Client, headers: Mapping[str, str], method: str, path: str) -> httpx.Response:
    """The answer as far as its headers: one of them has no end."""
    with client.stream(method, path, headers=headers) as answer:
        return answer


def test_an_operation_is_open_to_everybody_where_it_says_so_and_nowhere_else(callers: httpx.Client) -> None:
    document = callers.get(DESCRIPTION).json()
    for method, path, operation in operations(document):
        answer = begun(callers, {}, method, address_of(path))
        assert (answer.status_code == 401) == bool(ways_in(document, operation)), (method, path)


def test_every_way_in_that_an_operation_describes_is_one_and_there_is_no_other(
    callers: httpx.Client, guarded: Guarded
) -> None:
    document = callers.get(DESCRIPTION).json()
    for method, path, operation in operations(document):
        ways = ways_in(document, operation)
        for way in ways:
            (scope, *_) = (*next(iter(way.values())), "infer")
            key = guarded.keys["admin:keys" if scope == "admin:*" else scope]
            answer = begun(callers, knock(document, way, key, guarded), method, address_of(path))
            assert answer.status_code not in (401, 403), (method, path, way)
        if ways and not any("consoleSession" in way for way in ways):
            other = {"consoleSession": [], "consolePage": []}
            headers = knock(document, other, guarded.keys["admin:keys"], guarded)
            assert begun(callers, headers, method, address_of(path)).status_code == 403, (method, path)


def knock(document: Described, way: Mapping[str, object], key: str, guarded: Guarded) -> dict[str, str]:
    """The headers that these schemes are made of, with what this key makes of them."""
    headers = {"origin": guarded.url}
    for name in way:
        scheme = document["components"]["securitySchemes"][name]
        if scheme["type"] == "http":
            headers["authorization"] = f"{scheme['scheme']} {key}"
        elif scheme["in"] == "cookie":
            headers["cookie"] = guarded.console_session(key)
            assert headers["cookie"].startswith(f"{scheme['name']}=")
        else:
            headers[scheme["name"]] = key
    return headers


def test_two_credentials_at_once_are_a_400_that_every_guarded_operation_describes(
    callers: httpx.Client, guarded: Guarded
) -> None:
    document = callers.get(DESCRIPTION).json()
    key = guarded.keys["infer"]
    both = {"x-api-key": key, "authorization": f"Bearer {key}"}
    for method, path, operation in operations(document):
        if ways_in(document, operation):
            assert begun(callers, both, method, address_of(path)).status_code == 400, (method, path)
            assert "400" in operation["responses"], (method, path)


def test_a_path_answers_405_to_what_it_does_not_describe_as_the_description_says(
    callers: httpx.Client,
) -> None:
    document = callers.get(DESCRIPTION).json()
    assert "405" in document["info"]["description"]
    for path, item in document["paths"].items():
        method = next(other for other in ("post", "put", "patch", "delete") if other not in item)
        answer = begun(callers, {}, method.upper(), address_of(path))
        assert answer.status_code == 405, (method, path)
        allowed = {each.strip().lower() for each in answer.headers["allow"].split(",")}
        assert allowed - {"head", "options"} == set(item), path


WRONG = {
    "X-Request-Timeout": "0",
    "X-Model-Version": "the newest",
    "If-Match": "8",
    "Inference-Header-Content-Length": "all",
}


async def test_a_header_is_read_where_it_is_described_and_nowhere_else(
    gateway: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    document = (await gateway.get(DESCRIPTION)).json()
    for method, path, operation in operations(document):
        if operation["tags"] == ["model control"]:
            continue  # the fake Triton has no repository
        described = {resolved(document, each)["name"] for each in operation["parameters"]}
        for name, value in WRONG.items():
            headers = {**operator, name: value, "content-type": media_type_of(operation)}
            where = address_of(path, model="pets", version="1")
            async with gateway.stream(method, where, headers=headers) as answer:
                if "event-stream" not in answer.headers.get("content-type", ""):
                    await answer.aread()
                    refused = answer.status_code in (400, 422) and name in answer.text
                    assert refused == (name in described), (method, path, name, answer.text)


def media_type_of(operation: Described) -> str:
    return next(iter(operation.get("requestBody", {}).get("content", ["application/json"])))


IMAGE = {"content": PNG, "headers": {"content-type": "image/png"}}
QUOTA = {"ratelimit", "ratelimit-policy"}
KNOWN = {*QUOTA, "server-timing"}
CALLED = {*KNOWN, "priority", "x-model-version", "x-model-variant"}
LIVE: Sequence[tuple[str, str, int, set[str], Mapping[str, Any]]] = [
    ("GET", "/livez", 200, set(), {}),
    ("GET", "/v1/models", 200, KNOWN, {}),
    ("GET", "/v1/models", 401, {"www-authenticate"}, {"headers": {"x-api-key": ""}}),
    ("GET", "/v1/models", 400, set(), {"headers": {"authorization": "Bearer x"}}),
    ("POST", "/v1/classify", 200, CALLED, IMAGE),
    ("POST", "/classify", 200, CALLED, IMAGE),
    ("POST", "/v1/classify", 404, {*KNOWN, "priority"}, {**IMAGE, "params": {"model": "zoo"}}),
    ("POST", "/v1/classify", 422, {*KNOWN, "priority"}, {"json": {}}),
    ("POST", "/v2/models/{model}/infer", 200, {*CALLED, "vary"}, {"json": TENSOR}),
    (
        "POST",
        "/v2/models/{model}/infer",
        200,
        {*CALLED, "vary", "content-encoding", "inference-header-content-length"},
        {
            "json": {**TENSOR, "parameters": {"binary_data_output": True}},
            "headers": {"accept-encoding": "gzip"},
        },
    ),
    ("POST", "/v2/models/{model}/infer", 400, KNOWN, {"content": b"?"}),
    (
        "POST",
        "/v2/models/{model}/versions/{version}/generate_stream",
        200,
        CALLED,
        {"json": {"images": [0] * 192}},
    ),
    ("GET", "/v2/models/{model}/config", 200, KNOWN, {}),
    ("GET", "/v2/models/{model}/config", 401, {"www-authenticate"}, {"headers": {"x-api-key": ""}}),
    ("POST", "/v1/tokens", 201, KNOWN, {"json": {"origins": [PAGE]}}),
    ("POST", "/console/session", 201, {*KNOWN, "set-cookie"}, {}),
    ("GET", "/console/session", 200, KNOWN, {}),
    ("DELETE", "/console/session", 204, {*KNOWN, "set-cookie"}, {}),
    ("GET", "/admin/v1/keys", 200, KNOWN, {}),
    ("GET", "/admin/v1/canaries/{model}", 200, {*KNOWN, "etag"}, {}),
    ("DELETE", "/admin/v1/canaries/{model}", 428, KNOWN, {}),
]


async def test_answers_carry_the_headers_that_are_described_and_no_others(
    gateway: httpx.AsyncClient, operator: dict[str, str]
) -> None:
    document = (await gateway.get(DESCRIPTION)).json()
    for method, path, status, least, asked in LIVE:
        request = {**asked, "headers": {**operator, **asked.get("headers", {})}}
        answer = await gateway.request(method, address_of(path, model="pets", version="1"), **request)
        assert answer.status_code == status, (method, path, answer.text)
        assert set(answer.headers) >= {"x-request-id", *least}, (method, path)
        assert answer.headers["cache-control"] == "no-store", (method, path)
        is_described(document, method, path, answer)


async def test_who_has_to_wait_is_told_how_long_as_described(
    poor: dict[str, str], gateway: httpx.AsyncClient, serve: Serve
) -> None:
    document = (await gateway.get(DESCRIPTION)).json()
    answers = [await gateway.get("/v1/models", headers=poor) for _ in range(2)]
    async with serve("127.0.0.1:1") as client:
        away = await client.post("/v1/classify", **IMAGE)
    assert [answer.status_code for answer in (*answers, away)] == [200, 429, 503]
    for path, answer in (("/v1/models", answers[-1]), ("/v1/classify", away)):
        assert int(answer.headers["retry-after"]) >= 1
        is_described(document, answer.request.method, path, answer)


OF_EVERY_MESSAGE = {"content-type", "content-length", "connection", "date", "server", "transfer-encoding"}


def is_described(document: Described, method: str, path: str, answer: httpx.Response) -> None:
    """Passes where the operation describes the answer's status and each of its headers, with its value."""
    answers = document["paths"][path][method.lower()]["responses"]
    described = resolved(document, answers[str(answer.status_code)])["headers"]
    headers = {name.lower(): resolved(document, header) for name, header in described.items()}
    for name in set(answer.headers) - OF_EVERY_MESSAGE:
        assert name in headers, (method, path, answer.status_code, name)
        schema, text = headers[name]["schema"], answer.headers[name]
        jsonschema.validate(int(text) if schema["type"] == "integer" else text, schema)


def _explains_itself(media: dict[str, Any], document: dict[str, Any]) -> bool:
    """By an example, or because every field may be left out."""
    name = media["schema"].get("$ref", "").rpartition("/")[2]
    schema = document["components"]["schemas"].get(name, media["schema"])
    return "examples" in media or not schema.get("required")


def _references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(_references, node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()
