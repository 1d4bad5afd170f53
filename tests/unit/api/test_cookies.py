"""Cookies as browsers send them: the first of a name, and nothing of it undone."""

import pytest
from litestar.connection import ASGIConnection

from gateway.api.cookies import cookie_of
from gateway.api.same_origin import COOKIE, session_of

SLASHES = '"' + "\\" * 31_000 + '"'


def sent(*lines: str, **others: str) -> ASGIConnection[None, None, None, None]:
    """A request with these lines of Cookie."""
    headers = [("cookie", line) for line in lines] + [*others.items()]
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers]
    return ASGIConnection({"type": "http", "headers": raw, "method": "GET"})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        pytest.param(["uid=a"], "a", id="one"),
        pytest.param(["x=1; uid=a; y=2"], "a", id="among others"),
        pytest.param(["x=1;uid=a"], "a", id="without a blank"),
        pytest.param(["uid=a; uid=b"], "a", id="the first of two"),
        pytest.param(["x=1", "uid=a"], "a", id="in a second line, as a proxy of HTTP/2 may leave it"),
        pytest.param(["uid=a=b"], "a=b", id="with an equals sign"),
        pytest.param(["uid="], "", id="an empty one"),
        pytest.param(['uid="a\\054%41"'], '"a\\054%41"', id="its quotes belong to it"),
        pytest.param([f"uid={SLASHES}"], SLASHES, id="31 kB of backslashes in quotes"),
        pytest.param(["uid; uid=a"], "a", id="a word alone is no name"),
        pytest.param(["UID=a; uidx=b; xuid=c"], None, id="other names"),
        pytest.param([";;=;"], None, id="nothing"),
        pytest.param([], None, id="no cookies"),
    ],
)
def test_the_first_of_the_name_counts_as_it_was_sent(lines: list[str], value: str | None) -> None:
    assert cookie_of(sent(*lines), "uid") == value


def test_a_session_is_what_its_cookie_holds_to_the_letter() -> None:
    request = sent(f"{COOKIE}={SLASHES}", x_console="1", sec_fetch_site="same-origin")
    assert session_of(request) == SLASHES
