"""Which heads are none, and how much is too much."""

import pytest

from gateway.errors import HeadersTooLarge, MalformedHttp, UriTooLong
from gateway.http.bounds import Bounds, Headers, body_length, has_body, head_error, is_origin_form

HOST = (b"host", b"gateway:8080")
CHUNKED = (b"transfer-encoding", b"Chunked")


@pytest.mark.parametrize(
    ("version", "target", "headers"),
    [
        ("1.1", b"/", [HOST]),
        ("1.1", b"/v1/models?x=%00&y=[]'\"`|", [HOST, CHUNKED]),
        ("1.1", b"//livez", [(b"host", b"[::1]:80")]),
        ("1.1", b"/", [(b"host", b"")]),
        ("1.1", b"/", [HOST, (b"content-type", b"image/png"), (b"content-type", b"image/png")]),
        ("1.1", b"/", [HOST, (b"priority", b"u=1"), (b"priority", b"i")]),
        ("1.0", b"/", []),
        ("1.0", b"/", [HOST]),
    ],
)
def test_a_head_that_can_be_read_in_one_way_passes(version: str, target: bytes, headers: Headers) -> None:
    assert head_error(version, target, headers) is None


@pytest.mark.parametrize(
    ("version", "target", "headers", "says"),
    [
        ("0.9", b"/", [HOST], "HTTP/1.1"),
        ("2.0", b"/", [HOST], "HTTP/1.1"),
        ("1.1", b"*", [HOST], "path"),
        ("1.1", b"", [HOST], "path"),
        ("1.1", b"http://gateway/", [HOST], "path"),
        ("1.1", b"/a#b", [HOST], "path"),
        ("1.1", b"/a b", [HOST], "path"),
        ("1.1", b"/\xff", [HOST], "path"),
        ("1.1", b"/", [], "one Host"),
        ("1.1", b"/", [HOST, HOST], "one Host"),
        ("1.0", b"/", [HOST, HOST], "one Host"),
        ("1.1", b"/", [(b"host", b"a, b")], "name of a host"),
        ("1.1", b"/", [(b"host", b"a/b")], "name of a host"),
        ("1.1", b"/", [(b"host", b"a@b")], "name of a host"),
        ("1.1", b"/", [HOST, (b"x-canary", b"always"), (b"x-canary", b"never")], "two things"),
        ("1.1", b"/", [HOST, (b"origin", b"a"), (b"accept", b"b"), (b"origin", b"c")], "two things"),
        ("1.1", b"/", [HOST, CHUNKED, CHUNKED], "Transfer-Encoding"),
        ("1.1", b"/", [HOST, (b"transfer-encoding", b"gzip, chunked")], "Transfer-Encoding"),
        ("1.1", b"/", [HOST, (b"transfer-encoding", b"")], "Transfer-Encoding"),
        ("1.0", b"/", [HOST, CHUNKED], "Transfer-Encoding"),
    ],
)
def test_a_head_that_others_may_read_otherwise_is_none(
    version: str, target: bytes, headers: Headers, says: str
) -> None:
    error = head_error(version, target, headers)
    assert isinstance(error, MalformedHttp)
    assert says in str(error)


@pytest.mark.parametrize(
    ("headers", "has"),
    [
        ([HOST], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"00")], True),
        ([(b"content-length", b"1")], True),
        ([CHUNKED], True),
    ],
)
def test_a_head_announces_its_body(headers: Headers, has: bool) -> None:
    assert has_body(headers) is has


def test_only_a_path_is_origin_form() -> None:
    assert [target for target in (b"/", b"/a?b", b"?", b"a", b"/\n", b"/\x7f") if is_origin_form(target)] == [
        b"/",
        b"/a?b",
    ]


def test_each_bound_is_the_last_that_passes() -> None:
    bounds = Bounds(url=10, headers=2, header_bytes=20, framing=30)
    assert bounds.url_error(10) is None
    assert isinstance(bounds.url_error(11), UriTooLong)
    assert bounds.header_error(2, 20) is None
    assert isinstance(bounds.header_error(3, 20), HeadersTooLarge)
    assert isinstance(bounds.header_error(2, 21), HeadersTooLarge)
    assert bounds.framing_error(30, in_head=True) is None
    assert isinstance(bounds.framing_error(31, in_head=True), HeadersTooLarge)
    assert isinstance(bounds.framing_error(31, in_head=False), MalformedHttp)


@pytest.mark.parametrize(
    ("headers", "length"),
    [([HOST, CHUNKED], 0), ([HOST], 0), ([(b"content-length", b"70000 ")], 70_000)],
)
def test_only_a_body_without_framing_has_a_length(headers: Headers, length: int) -> None:
    assert body_length(headers) == length
