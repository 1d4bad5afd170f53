"""First lines and headers: rows 21 to 40 of the bad-input corpus, byte for byte."""

import re
from collections.abc import Sequence

import pytest
from processes import RunningStack
from support.guarded import Guarded
from support.wire import Answer, exchange, get

HOST = b"Host: gateway"
CLOSE = b"Connection: close"
MALFORMED = (400, "malformed_http")
LARGE = (431, "headers_too_large")
LONG = (414, "uri_too_long")
NOT_FOUND = (404, "not_found")


def asked(stack: RunningStack, *lines: bytes, target: bytes = b"/v1/models") -> Answer:
    """The answer to a sound request with these headers besides."""
    key = f"X-API-Key: {stack.key}".encode()
    (answer,) = exchange(stack.at, get(HOST, CLOSE, key, *lines, target=target))
    return answer


def sent(stack: RunningStack, digit: bytes, *lines: bytes) -> Answer:
    """The answer to a picture with these headers besides."""
    key = f"X-API-Key: {stack.key}".encode()
    length = f"Content-Length: {len(digit)}".encode()
    head = get(HOST, CLOSE, key, length, *lines, target=b"/v1/classify").replace(b"GET", b"POST", 1)
    (answer,) = exchange(stack.at, head + digit)
    return answer


AT_THE_PARSER: dict[str, tuple[bytes, tuple[int, str]]] = {
    "21 no Host": (get(), MALFORMED),
    "22 two Hosts": (get(HOST, b"Host: other"), MALFORMED),
    "22 the same Host twice": (get(HOST, HOST), MALFORMED),
    "22 two Hosts in HTTP/1.0": (get(HOST, HOST, version=b"HTTP/1.0"), MALFORMED),
    "22 two hosts in one": (get(b"Host: gateway, other"), MALFORMED),
    "22 a Host with a path": (get(b"Host: gateway/livez"), MALFORMED),
    "22 a Host with somebody at it": (get(b"Host: evil@gateway"), MALFORMED),
    "22 two pages": (get(HOST, b"Origin: https://a.example", b"Origin: https://b.example"), MALFORMED),
    "22 two media types": (get(HOST, b"Content-Type: image/png", b"content-type: image/webp"), MALFORMED),
    "22 two versions": (get(HOST, b"X-Model-Version: 1", b"X-Model-Version: 2"), MALFORMED),
    "22 two deadlines": (get(HOST, b"X-Request-Timeout: 1", b"X-Request-Timeout: 9"), MALFORMED),
    "22 two generations": (get(HOST, b'If-Match: "1"', b'If-Match: "2"'), MALFORMED),
    "23 another's address": (get(HOST, target=b"http://evil.example/livez"), MALFORMED),
    "23 one's own address": (get(HOST, target=b"http://gateway/livez"), MALFORMED),
    "23 a tunnel": (get(HOST, target=b"gateway:80").replace(b"GET", b"CONNECT"), MALFORMED),
    "23 a star": (get(HOST, target=b"*").replace(b"GET", b"OPTIONS"), MALFORMED),
    "23 a fragment": (get(HOST, target=b"/livez#top"), MALFORMED),
    "23 bytes beyond ASCII": (get(HOST, target=b"/\xff\xfe"), MALFORMED),
    "24 a header of 1 MB": (get(HOST, b"X-Note: " + b"x" * 1_000_000), LARGE),
    "24 a name of 1 MB": (get(HOST, b"X" * 1_000_000 + b": a"), LARGE),
    "24 a header without an end": (
        b"GET /livez HTTP/1.1\r\nHost: gateway\r\nX-Note: " + b"x" * 200_000,
        LARGE,
    ),
    "24 40 kB in four headers": (get(HOST, *[b"X-Note: " + b"x" * 10_000] * 4), LARGE),
    "25 10,000 headers": (get(HOST, *[b"X: y"] * 10_000), LARGE),
    "25 101 headers": (get(HOST, *[b"X: y"] * 100), LARGE),
    "26 a path of 200 kB": (get(HOST, target=b"/" + b"x" * 200_000), LONG),
    "26 a query of 9 kB": (get(HOST, target=b"/livez?" + b"x" * 9_000), LONG),
    "29 an unknown method": (get(HOST).replace(b"GET", b"FOO"), MALFORMED),
    "29 a method in small letters": (get(HOST).replace(b"GET", b"get"), MALFORMED),
    "29 a line feed in a value": (get(HOST, b"X-Note: a\nb"), MALFORMED),
    "31 a line feed in an id": (get(HOST, b"X-Request-Id: a\nX-API-Key: b"), MALFORMED),
    "31 a carriage return in an id": (get(HOST, b"X-Request-Id: a\rb"), MALFORMED),
}


@pytest.mark.parametrize(("request_", "told"), AT_THE_PARSER.values(), ids=AT_THE_PARSER.keys())
def test_21_to_31_what_is_refused_at_the_parser_ends_the_connection(
    stack: RunningStack, request_: bytes, told: tuple[int, str]
) -> None:
    (answer,) = exchange(stack.at, request_)
    assert answer.told == told
    assert answer.headers["connection"] == "close"
    assert answer.problem["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "request_",
    [
        get(CLOSE, HOST, *[b"X: y"] * 90),
        get(CLOSE, HOST, b"X-Note: " + b"x" * 30_000),
        get(CLOSE, HOST, target=b"/livez?" + b"x" * 8_000),
        get(CLOSE, HOST, b"Content-Type: image/png", b"Content-Type: image/png"),
        get(CLOSE, HOST, b"Priority: u=1", b"Priority: i", b"Accept: text/html", b"Accept: image/png"),
        get(CLOSE, b"Host: [::1]:8080"),
        get(CLOSE, b"Host: "),
        get(version=b"HTTP/1.0"),
    ],
    ids=[
        "90 headers",
        "30 kB",
        "a query of 8 kB",
        "one thing twice",
        "lists",
        "an address",
        "an empty Host",
        "HTTP/1.0 without a Host",
    ],
)
def test_21_to_26_what_is_within_the_bounds_is_answered(stack: RunningStack, request_: bytes) -> None:
    (answer,) = exchange(stack.at, request_)
    assert answer.status == 200, answer.body


def test_26_clients_of_the_inference_protocol_are_told_in_its_own_form(stack: RunningStack) -> None:
    (answer,) = exchange(stack.at, get(HOST, target=b"/v2/models?" + b"x" * 9_000))
    assert (answer.status, answer.problem) == (414, {"error": "A request target has at most 8192 bytes."})


def test_31_the_id_that_came_before_what_was_refused_is_told(stack: RunningStack) -> None:
    (answer,) = exchange(stack.at, get(b"X-Request-Id: mine-1", HOST, HOST))
    assert answer.headers["x-request-id"] == answer.problem["request_id"] == "mine-1"


PATHS = [
    b"/nowhere",
    b"/%00",
    b"/a%00b",
    b"/../etc/passwd",
    b"/v1/../../livez",
    b"/%2e%2e/livez",
    b"//",
    b"//livez",
]
PATHS += [
    b"//evil.example/livez",
    b"/%zz",
    b"/%",
    b"/%c0%af",
    b"/livez;x",
    b"/LIVEZ",
    b"/\\livez",
    b"/v1%2Fmodels",
    b"/v1%2fmodels",
    b"/v1/models%2F",
    b"/v1%5Cmodels",
    b"/v1/models%5c",
    b"/admin/v1/keys/a%2Fb",
    b"/admin/v1/tokens/corp:a%5Cb",
    b"/v1/models/..%2F..%2Flivez",
    b"/console/../.env",
]


@pytest.mark.parametrize("path", PATHS)
def test_27_and_30_a_path_that_nothing_is_at_is_not_found(stack: RunningStack, path: bytes) -> None:
    assert asked(stack, target=path).told == NOT_FOUND


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [(b"DELETE", b"/v1/models", "GET"), (b"GET", b"/v1/classify", "POST"), (b"TRACE", b"/v1/models", "GET")],
)
def test_28_another_method_is_told_which_ones_there_are(
    stack: RunningStack, method: bytes, path: bytes, allowed: str
) -> None:
    (answer,) = exchange(stack.at, get(HOST, CLOSE, target=path).replace(b"GET", method, 1))
    assert answer.told == (405, "method_not_allowed")
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    "request_id",
    [b"a%0d%0aX-Evil:%201", b"a b", b"x" * 10_000, b"\xc3\xa4\xff", b"../../etc", b"", b'"}{"code":"x'],
    ids=["an encoded line end", "a space", "10 kB", "beyond ASCII", "a path", "nothing", "JSON"],
)
def test_31_and_32_an_id_that_is_not_well_formed_is_replaced(stack: RunningStack, request_id: bytes) -> None:
    answer = asked(stack, b"X-Request-Id: " + request_id)
    assert answer.status == 200
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


PASSED_ON = [b"X-Forwarded-For: %b", b"X-Real-IP: %b", b"Forwarded: for=%b"]


def test_33_an_address_in_a_header_opens_nothing(stack: RunningStack, guarded: Guarded) -> None:
    """/metrics is for 10.0.0.0/8 there and for this machine here; what came by way of a proxy is from neither."""
    for line in PASSED_ON:
        name, _, value = (line % b"10.0.0.1").decode().partition(": ")
        assert guarded.ask({name: value}, path="/metrics").status_code == 401
        assert asked(stack, line % b"127.0.0.1", target=b"/metrics").told == (403, "forbidden")
    assert asked(stack, target=b"/metrics").status == 200


def test_33_a_host_in_a_header_counts_for_nothing(stack: RunningStack) -> None:
    assert asked(stack, b"X-Forwarded-Host: evil.example", b"X-Original-URL: /livez").status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"traceparent: junk",
        b"traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"traceparent: " + b"x" * 8_000,
        b"triton-grpc-protocol-priority: 1",
        b"grpc-timeout: 1n",
        b"Idempotency-Key: " + b"x" * 10_000,
    ],
    ids=[
        "no trace",
        "a trace of zeros",
        "a long one",
        "a header for Triton",
        "one for gRPC",
        "39 a key of 10 kB",
    ],
)
def test_34_and_39_headers_that_mean_nothing_here_change_nothing(
    stack: RunningStack, digit: bytes, line: bytes
) -> None:
    """The gateway offers no idempotency keys, so one is a header like any other."""
    assert sent(stack, digit, b"Content-Type: image/png", line).status == 200


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"gzip, gzip", b"x"])
def test_35_a_packed_body_is_unsupported(stack: RunningStack, digit: bytes, coding: bytes) -> None:
    answer = sent(stack, digit, b"Content-Type: image/png", b"Content-Encoding: " + coding)
    assert answer.told == (415, "unsupported_encoding")


@pytest.mark.parametrize(
    "lines", [[], [b"Content-Type: text/plain"], [b"Content-Type: "]], ids=["none", "text", "an empty one"]
)
def test_36_a_body_needs_its_media_type(stack: RunningStack, digit: bytes, lines: Sequence[bytes]) -> None:
    assert sent(stack, digit, *lines).told == (415, "unsupported_media_type")


@pytest.mark.parametrize("accepted", [b"text/html", b"image/png", b"*/*;q=0", b"nonsense"])
def test_37_an_answer_is_json_whatever_is_accepted(stack: RunningStack, accepted: bytes) -> None:
    answer = asked(stack, b"Accept: " + accepted)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("asked_for", [b"0", b"-1", b"abc", b"1e3", b"", b"\xb2"])
def test_38_a_deadline_that_is_none_fails_validation(
    stack: RunningStack, digit: bytes, asked_for: bytes
) -> None:
    answer = sent(stack, digit, b"Content-Type: image/png", b"X-Request-Timeout: " + asked_for)
    assert answer.told == (422, "validation_failed")


def test_38_a_deadline_beyond_the_bound_is_shortened(stack: RunningStack, digit: bytes) -> None:
    answer = sent(stack, digit, b"Content-Type: image/png", b"X-Request-Timeout: 1000000000000")
    assert answer.status == 200


@pytest.mark.parametrize(
    "origin", [b"null", b"https://evil.example", b"http://gateway.evil.example", b"http://gateway"]
)
def test_40_no_page_of_another_origin_may_read(stack: RunningStack, origin: bytes) -> None:
    answer = asked(stack, b"Origin: " + origin)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_nothing_of_it_was_a_bug(stack: RunningStack) -> None:
    log = stack.gateway.log.read_text()
    assert "internal_error" not in log
    assert "Exception in" not in log
