"""Every route against everybody who may knock, from the application's own table: a new route needs an entry here."""

import re
from collections.abc import Mapping

import pytest
from litestar.routes import WebSocketRoute
from support.application import routes_of_a_gateway
from support.guarded import PAGE, Guarded, corp_token, forged

PUBLIC, INFERENCE, BY_KEY = "public", "inference", "inference, by an API key"
ANY_ADMINISTRATION = "any scope that administers"
A_KEY_THAT_ADMINISTERS = "any scope that administers, by an API key"

NEEDS: Mapping[tuple[str, str], str] = {
    ("GET", "/livez"): PUBLIC,
    ("GET", "/metrics"): ANY_ADMINISTRATION,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/assets/{path}"): PUBLIC,
    ("GET", "/console"): PUBLIC,
    **{(method, "/console/session"): ANY_ADMINISTRATION for method in ("GET", "DELETE")},
    ("POST", "/console/session"): A_KEY_THAT_ADMINISTERS,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/openapi.json"): PUBLIC,
    ("GET", "/docs/{path}"): PUBLIC,
    ("GET", "/docs/assets/{name}"): PUBLIC,
    ("GET", "/"): PUBLIC,
    ("GET", "/playground"): PUBLIC,
    ("GET", "/problems"): PUBLIC,
    ("GET", "/problems/{code}"): PUBLIC,
    ("GET", "/v1/classify/stream"): PUBLIC,  # it only says that a WebSocket is needed
    ("GET", "/v1/detect/stream"): PUBLIC,
    ("POST", "/v1/classify"): INFERENCE,
    ("POST", "/v1/detect"): INFERENCE,
    ("POST", "/classify"): INFERENCE,
    ("POST", "/detect"): INFERENCE,
    ("GET", "/v1/models"): INFERENCE,
    ("GET", "/v2/health/live"): PUBLIC,
    ("GET", "/v2/health/ready"): PUBLIC,
    ("GET", "/v2"): INFERENCE,
    ("GET", "/v2/models/stats"): INFERENCE,
    **{
        (method, f"/v2/models/{{model}}{version}{question}"): INFERENCE
        for version in ("", "/versions/{version}")
        for method, question in (
            ("GET", ""),
            ("GET", "/ready"),
            ("GET", "/config"),
            ("GET", "/stats"),
            ("POST", "/infer"),
            ("POST", "/generate"),
            ("POST", "/generate_stream"),
        )
    },
    ("POST", "/v1/tokens"): BY_KEY,
    ("GET", "/admin/v1/keys"): "admin:keys",
    ("POST", "/admin/v1/keys"): "admin:keys",
    ("GET", "/admin/v1/keys/{key_id}"): "admin:keys",
    ("DELETE", "/admin/v1/keys/{key_id}"): "admin:keys",
    ("POST", "/admin/v1/keys/{key_id}/rotate"): "admin:keys",
    ("DELETE", "/admin/v1/tokens/{token_id}"): "admin:keys",
    ("GET", "/admin/v1/models"): "admin:models",
    ("GET", "/admin/v1/models/{model}"): "admin:models",
    **{
        ("POST", f"/admin/v1/models/{{model}}/{action}"): "admin:models"
        for action in ("load", "unload", "heal")
    },
    ("GET", "/admin/v1/audit"): ANY_ADMINISTRATION,
    ("GET", "/admin/v1/events"): "admin:canary",
    ("GET", "/admin/v1/workers"): "admin:canary",
    ("GET", "/admin/v1/canaries"): "admin:canary",
    ("GET", "/admin/v1/canaries/{model}"): "admin:canary",
    ("PUT", "/admin/v1/canaries/{model}"): "admin:canary",
    ("PATCH", "/admin/v1/canaries/{model}"): "admin:canary",
    ("DELETE", "/admin/v1/canaries/{model}"): "admin:canary",
    ("GET", "/admin/v1/canaries/{model}/report"): "admin:canary",
    ("GET", "/admin/v1/canaries/{model}/events"): "admin:canary",
    ("GET", "/admin/v1/canaries/{model}/callers"): "admin:canary",
    **{
        ("POST", f"/admin/v1/canaries/{{model}}/{action}"): "admin:canary"
        for action in (
            "check",
            "promote",
            "rollback",
            "pause",
            "resume",
            "abort",
            "undo",
            "freeze",
            "unfreeze",
        )
    },
}

# What each role may do, by the words of NEEDS, beside what is public.
MAY: Mapping[str, set[str]] = {
    "infer": {INFERENCE, BY_KEY},
    "infer:pets": {INFERENCE, BY_KEY},
    "pin-version": set(),
    "admin:keys": {"admin:keys", ANY_ADMINISTRATION, A_KEY_THAT_ADMINISTERS},
    "admin:canary": {"admin:canary", ANY_ADMINISTRATION, A_KEY_THAT_ADMINISTERS},
    "admin:models": {"admin:models", ANY_ADMINISTRATION, A_KEY_THAT_ADMINISTERS},
    "the console's session of admin:canary": {"admin:canary", ANY_ADMINISTRATION},
    "a page's token": {INFERENCE},
    "an issuer's token": {INFERENCE},
}
STRANGERS = (
    "nobody",
    "wrong secret",
    "unknown id",
    "expired",
    "revoked",
    "the console's session without its header",
    "a page's token on another page",
    "a page's token on no page",
    "an issuer's token of yesterday",
)


STREAMS = {"/v1/classify/stream", "/v1/detect/stream"}  # they knock themselves: test_streams.py has who may


def routes() -> set[tuple[str, str]]:
    """Method and path of everything that the application answers to, streams aside."""
    answering = [route for route in routes_of_a_gateway() if not isinstance(route, WebSocketRoute)]
    return {(method, route.path_format) for route in answering for method in route.methods}


def test_every_route_has_an_entry_and_every_entry_a_route() -> None:
    assert {route for route in routes() if route[0] != "OPTIONS"} == set(NEEDS)


def test_every_stream_is_known() -> None:
    assert {
        route.path_format for route in routes_of_a_gateway() if isinstance(route, WebSocketRoute)
    } == STREAMS


def address_of(path: str) -> str:
    """The path with something in the place of its parameters; nothing has this name."""
    return re.sub(r"\{[a-z_]+\}", "Zz00zZ11", path)


@pytest.fixture(scope="module")
def page_token(guarded: Guarded) -> str:
    return str(guarded.page_token(guarded.keys["infer"])["token"])


def headers_of(role: str, guarded: Guarded, page_token: str) -> dict[str, str]:
    """How this role knocks."""
    good = guarded.keys["infer"]
    by_bearer = {
        "a page's token": page_token,
        "a page's token on another page": page_token,
        "a page's token on no page": page_token,
        "an issuer's token": corp_token(),
        "an issuer's token of yesterday": corp_token(iat=1_700_000_000, exp=1_700_003_600),
    }
    if role == "nobody":
        return {}
    if role.startswith("the console's session"):
        cookie = {"cookie": guarded.console_session(guarded.keys["admin:canary"])}
        return cookie if role.endswith("without its header") else {**cookie, **guarded.from_console}
    if role in by_bearer:
        pages = {"a page's token": PAGE, "a page's token on another page": "https://evil.example"}
        origin = {"origin": pages[role]} if role in pages else {}
        return {"authorization": f"Bearer {by_bearer[role]}", **origin}
    wrong = {"wrong secret": forged(good), "unknown id": forged(good, key_id="00000000")}
    return {"x-api-key": wrong[role] if role in wrong else guarded.keys[role]}


@pytest.mark.parametrize("role", [*MAY, *STRANGERS])
@pytest.mark.parametrize(("method", "path"), NEEDS, ids=map(" ".join, NEEDS))
def test_a_route_lets_in_whom_it_should_and_nobody_else(
    guarded: Guarded, page_token: str, method: str, path: str, role: str
) -> None:
    need = NEEDS[method, path]
    answer = guarded.ask(headers_of(role, guarded, page_token), method, address_of(path))
    if need == PUBLIC or need in MAY.get(role, ()):
        assert answer.status_code not in (401, 403, 405, 429, 500), answer.text
        # Its credential could be checked; Triton's absence is no matter.
        assert answer.status_code != 503 or '"overloaded"' not in answer.text
    elif role in STRANGERS:
        assert answer.status_code == 401, answer.text
        assert answer.headers["www-authenticate"].startswith("Bearer")
    elif path.startswith("/v2"):
        assert (answer.status_code, set(answer.json())) == (403, {"error"}), answer.text
    else:
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text


@pytest.mark.parametrize("path", sorted({path for _, path in NEEDS}))
def test_asking_for_the_methods_needs_no_more_and_no_less(guarded: Guarded, path: str) -> None:
    public = {need == PUBLIC for (_, other), need in NEEDS.items() if other == path}
    answer = guarded.ask({}, "OPTIONS", address_of(path))
    assert {answer.status_code != 401} == public
