"""The console's cookie: how it is set, whose requests it counts for, and when it counts no more."""

from collections.abc import Mapping

import httpx
import pytest
from support.guarded import Guarded, another_address

SESSION = "/console/session"
ROUTES = "/admin/v1/canaries"


@pytest.fixture
def cookie(guarded: Guarded) -> str:
    return guarded.console_session(guarded.keys["admin:canary"])


def sign_in(guarded: Guarded, key: str, origin: str) -> httpx.Response:
    return guarded.ask({"authorization": f"Bearer {guarded.keys[key]}", "origin": origin}, "POST", SESSION)


@pytest.mark.parametrize(
    ("origin", "secure"), [("http://gateway.example", False), ("https://gateway.example", True)]
)
def test_the_cookie_is_for_this_site_and_no_script(guarded: Guarded, origin: str, secure: bool) -> None:
    answer = sign_in(guarded, "admin:keys", origin)
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert ("secure" in attributes) == secure
    assert not any(part.startswith("domain") for part in attributes)
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"key", "tenant", "scopes", "expires_at"}


def test_a_key_that_only_infers_opens_no_console(guarded: Guarded) -> None:
    assert sign_in(guarded, "infer", guarded.url).status_code == 403


@pytest.mark.parametrize(
    ("method", "told", "status"),
    [
        pytest.param("GET", {}, 401, id="a read without the header goes by no session at all"),
        pytest.param("POST", {}, 401, id="nor does a change"),
        pytest.param("POST", {"sec-fetch-site": "same-origin"}, 401, id="nor one from our own pages"),
        pytest.param("GET", {"x-console": "1"}, 200, id="a read with it passes"),
        pytest.param("POST", {"x-console": "1"}, 403, id="a change has to say where it is from"),
        pytest.param(
            "POST", {"x-console": "1", "origin": "{url}"}, 503, id="from here it passes, as far as Triton"
        ),
        pytest.param(
            "POST", {"x-console": "1", "origin": "https://evil.example"}, 403, id="not from another origin"
        ),
        pytest.param("POST", {"x-console": "1", "origin": "null"}, 403, id="not from a page without one"),
        pytest.param(
            "GET", {"x-console": "1", "origin": "http://127.0.0.1:1"}, 403, id="not from another port"
        ),
        pytest.param(
            "GET", {"x-console": "1", "sec-fetch-site": "same-site"}, 403, id="not from a sister site"
        ),
        pytest.param(
            "POST",
            {"x-console": "1", "origin": "{url}", "sec-fetch-site": "cross-site"},
            403,
            id="the browser's word goes before Origin",
        ),
        pytest.param("GET", {"x-console": "1", "x-api-key": "gw_…"}, 400, id="one credential at a time"),
    ],
)
def test_only_the_consoles_own_page_goes_by_it(
    guarded: Guarded, cookie: str, method: str, told: Mapping[str, str], status: int
) -> None:
    path = f"{ROUTES}/nothing/rollback" if method == "POST" else ROUTES
    headers = {name.encode(): value.format(url=guarded.url).encode() for name, value in told.items()}
    answer = guarded.ask({b"cookie": cookie.encode(), **headers}, method, path)
    assert answer.status_code == status, answer.text


def test_a_page_that_names_another_key_than_the_sessions_is_refused(guarded: Guarded, cookie: str) -> None:
    shown = guarded.ask({"cookie": cookie, **guarded.from_console}, "GET", SESSION).json()["key"]
    other = guarded.keys["admin:keys"].split("_")[2]
    for meant, status in ((shown, 200), (other, 401)):
        answer = guarded.ask({"cookie": cookie, **guarded.from_console, "x-console": meant}, "GET", ROUTES)
        assert answer.status_code == status, answer.text
    assert answer.json()["code"] == "session_changed"


def test_a_session_that_is_signed_out_is_worth_nothing(guarded: Guarded, cookie: str) -> None:
    headers = {"cookie": cookie, **guarded.from_console}
    answer = guarded.ask(headers, "DELETE", SESSION)
    assert answer.status_code == 204
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    after = guarded.ask(headers, "GET", ROUTES)
    assert (after.status_code, after.json()["code"]) == (401, "invalid_token")


def test_a_stream_that_a_session_opened_ends_with_it(guarded: Guarded, cookie: str) -> None:
    headers = {"cookie": cookie, **guarded.from_console}
    with (
        guarded.client(another_address()) as client,
        client.stream("GET", "/admin/v1/events", headers=headers, timeout=60) as stream,
    ):
        assert stream.status_code == 200
        assert guarded.ask(headers, "DELETE", SESSION).status_code == 204
        for _ in stream.iter_bytes():  # it would go on for ten minutes
            pass


def test_a_session_does_not_make_another(guarded: Guarded, cookie: str) -> None:
    assert guarded.ask({"cookie": cookie, **guarded.from_console}, "POST", SESSION).status_code == 403


def test_other_origins_are_never_allowed_to_send_the_header(guarded: Guarded) -> None:
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-console",
    }
    assert "access-control-allow-origin" not in guarded.ask(asked, "OPTIONS", ROUTES).headers
