"""Where a request begins and ends: rows 1 to 20 of the bad-input corpus, and callers that take their time."""

import re
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from processes import RunningStack
from support.hostile import MIB, cost_of
from support.pictures import digit_picture, encoded
from support.wire import KEY, Answer, connected, exchange, get, post, post_in_chunks, read_to_end, send

HOST = b"Host: gateway"
STREAM = b"/v1/classify/stream"
HANDSHAKE = (
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
MALFORMED = (400, "malformed_http")
TOO_LARGE = (413, "body_too_large")
LATE = (408, "request_timeout")


def said(stack: RunningStack, *pieces: bytes, pause: float = 0.0) -> list[Answer]:
    """The answers, until the gateway ends the connection."""
    return exchange(stack.at, *(piece.replace(KEY, stack.key.encode()) for piece in pieces), pause=pause)


def test_the_request_that_the_others_are_made_from_is_answered(stack: RunningStack) -> None:
    picture = encoded(digit_picture())
    length = f"Content-Length: {len(picture)}".encode()
    (answer,) = said(stack, post(length, b"Connection: close", body=picture))
    assert answer.status == 200, answer.body


CORPUS: dict[str, bytes] = {
    "1 a length and chunks": post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "1 chunks and a length": post(b"Transfer-Encoding: chunked", b"Content-Length: 3", body=b"0\r\n\r\n"),
    "2 two lengths that differ": post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc"),
    "3 the same length twice": post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "3 the same length twice in one line": post(b"Content-Length: 3, 3", body=b"abc"),
    "4 a length with a plus": post(b"Content-Length: +13"),
    "4 a hexadecimal length": post(b"Content-Length: 0x0d"),
    "4 a negative length": post(b"Content-Length: -1"),
    "4 a length of 20 digits": post(b"Content-Length: 99999999999999999999"),
    "4 no digits": post(b"Content-Length: "),
    "5 xchunked": post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "5 identity": post(b"Transfer-Encoding: identity", body=b"abc"),
    "5 gzip before chunked": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "5 xchunked where no body is read": get(HOST, b"Transfer-Encoding: xchunked"),
    "6 chunked, identity": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "6 chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "6 chunks in HTTP/1.0": b"POST /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "7 a space before the colon": post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"),
    "8 a size that is none": post_in_chunks(b"zz\r\n"),
    "8 a size with 0x": post_in_chunks(b"0x5\r\nabcde\r\n0\r\n\r\n"),
    "8 a negative size": post_in_chunks(b"-5\r\nabcde\r\n0\r\n\r\n"),
    "8 a size beyond 64 bits": post_in_chunks(b"ffffffffffffffffff\r\nabcde\r\n0\r\n\r\n"),
    "8 bare line feeds": post_in_chunks(b"5\nabcde\n0\n\n"),
    "9 a chunk without its CRLF": post_in_chunks(b"5\r\nabcdeXX0\r\n\r\n"),
    "10 an extension of 100 kB": post_in_chunks(b"5;" + b"x" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n"),
    "10 trailers of 100 kB": post_in_chunks(b"0\r\nX-Note: " + b"x" * 100_000 + b"\r\n\r\n"),
    "10 a line feed in an extension": post_in_chunks(b"5;\nabcde\r\n0\r\n\r\n"),
    "11 bare line feeds": b"GET /livez HTTP/1.1\nHost: gateway\n\n",
    "11 a folded header": get(HOST, b"X-Note: a", b" b"),
    "11 a NUL": get(HOST, b"X-Note: a\x00b"),
    "12 HTTP/0.9": b"GET /livez\r\n\r\n",
    "12 HTTP/1.2": get(HOST, version=b"HTTP/1.2"),
    "12 HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "12 TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "a body behind an Upgrade to WebSocket": get(HOST, *HANDSHAKE, b"Content-Length: 6", target=STREAM)
    + b"\x8a\x80\0\0\0\0",
    "chunks behind an Upgrade to WebSocket": get(
        HOST, *HANDSHAKE, b"Transfer-Encoding: chunked", target=STREAM
    ),
    "an Upgrade in HTTP/1.0": get(HOST, *HANDSHAKE, target=STREAM, version=b"HTTP/1.0"),
    "a WebSocket's protocol that is not ASCII": get(
        HOST, *HANDSHAKE, b"Sec-WebSocket-Protocol: \xff", target=STREAM
    ),
    "a WebSocket's extension that is not ASCII": get(
        HOST, *HANDSHAKE, b"Sec-WebSocket-Extensions: \xff", target=STREAM
    ),
    "a body behind an Upgrade": post(
        b"Connection: upgrade", b"Upgrade: h2c", b"Content-Length: 4", body=b"GET "
    ),
}


@pytest.mark.parametrize("sent", CORPUS.values(), ids=CORPUS.keys())
def test_1_to_12_what_could_be_read_in_two_ways_is_refused_and_the_connection_ends(
    stack: RunningStack, sent: bytes
) -> None:
    (answer,) = said(stack, sent)
    assert answer.told == MALFORMED
    assert answer.headers["connection"] == "close"
    assert answer.problem["request_id"] == answer.headers["x-request-id"]
    assert answer.problem["type"] == "/problems/malformed_http"


@pytest.mark.parametrize(
    "rest",
    [b"zz\r\n", b"5\r\nabcdeXX0\r\n", b"5;" + b"x" * 100_000],
    ids=["8 size", "9 CRLF", "10 extension"],
)
def test_8_to_10_a_body_that_goes_wrong_while_it_is_read_is_refused_as_one_at_once(
    stack: RunningStack, rest: bytes
) -> None:
    (answer,) = said(stack, post_in_chunks(b"5\r\nabcde\r\n"), rest, pause=0.2)
    assert answer.told == MALFORMED


def test_10_extensions_of_reasonable_length_are_skipped(stack: RunningStack, digit: bytes) -> None:
    signed = b";chunk-signature=" + b"5" * 64
    chunks = b"".join(b"1%b\r\n%c\r\n" % (signed, byte) for byte in digit)
    head = post(b"Transfer-Encoding: chunked", b"Connection: close")
    (answer,) = said(stack, head + chunks + b"0%b\r\n\r\n" % signed)
    assert answer.status == 200, answer.body


@dataclass(frozen=True)
class Slow:
    """Pieces with `pause` seconds between them, and what is said after how many seconds."""

    pieces: Sequence[bytes]
    seconds: float
    told: tuple[int, str | None] = LATE
    pause: float = 0.0


SLOW = {
    "13 no byte": Slow([], 5),
    "13 half a head": Slow([get(HOST)[:-4]], 5),
    "13 half a head behind a whole one": Slow([get(HOST), get(HOST)[:-4]], 5, pause=0.5),
    "13 nothing behind a request that was answered": Slow([get(HOST)], 5, (200, None)),
    "13 empty lines behind one": Slow([get(HOST), *[b"\r\n"] * 50], 5, (200, None), pause=0.2),
    "14 a byte every 200 ms": Slow(
        [bytes([byte]) for byte in get(HOST, b"X-Note: " + b"x" * 200)], 5, pause=0.2
    ),
    "15 half a body": Slow([post(b"Content-Length: 100", body=b"x")], 15),
    "15 a body by drops": Slow([post(b"Content-Length: 500"), *[b"x"] * 100], 15, pause=0.2),
    "15 half a chunk": Slow([post_in_chunks(b"5\r\nab")], 15),
    "15 the rest of a body that was answered already": Slow(
        [post(b"Content-Length: 500").replace(KEY, b"nobody"), *[b"x"] * 100],
        5,
        (401, "invalid_key"),
        pause=0.2,
    ),
}


def test_13_to_15_who_takes_too_long_is_told_so_and_cut_off(stack: RunningStack) -> None:
    """A head has 5 seconds, a body 15, however it comes, and an answered connection 5 to go on. All of them at once."""

    def take(slow: Slow) -> tuple[list[Answer], float]:
        began = time.monotonic()
        return said(stack, *slow.pieces, pause=slow.pause), time.monotonic() - began

    with ThreadPoolExecutor(len(SLOW)) as pool:
        taken = dict(zip(SLOW, pool.map(take, SLOW.values()), strict=True))
    for name, slow in SLOW.items():
        found, took = taken[name]
        assert found[-1].told == slow.told, name
        assert slow.seconds * 0.9 < took < slow.seconds + 10, f"{name}: {took:.1f} s"  # 10: a busy machine


def test_16_a_length_of_a_gigabyte_is_refused_unread(stack: RunningStack) -> None:
    (answer,) = said(stack, post(b"Content-Length: 999999999"))
    assert answer.told == TOO_LARGE


@pytest.mark.parametrize("megabytes", [12, 60], ids=["a little", "far"])
def test_17_chunks_beyond_the_limit_are_refused_and_not_kept(stack: RunningStack, megabytes: int) -> None:
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"
    with cost_of(stack.gateway.popen.pid) as cost:
        (answer,) = said(stack, post_in_chunks(b""), *[chunk] * megabytes, b"0\r\n\r\n")
    assert answer.told == TOO_LARGE
    assert cost.memory < 50 * MIB


def left(stack: RunningStack, http: httpx.Client) -> float:
    """How many requests were counted whose caller had left."""
    lines = re.findall(
        r'^gateway_requests_total\{code="499",.*route="/v1/classify".*\} (\S+)$',
        http.get("/metrics").text,
        re.MULTILINE,
    )
    return sum(map(float, lines))


def test_18_a_body_that_ends_early_gets_no_answer_and_is_counted(
    stack: RunningStack, client: httpx.Client
) -> None:
    before = left(stack, client)
    with connected(stack.at) as wire:
        send(wire, post(b"Content-Length: 100", body=b"abc").replace(KEY, stack.key.encode()))
        wire.shutdown(socket.SHUT_WR)
        assert read_to_end(wire) == b""
    end = time.monotonic() + 10
    while left(stack, client) != before + 1:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_19_pipelined_requests_are_answered_in_their_order(stack: RunningStack) -> None:
    ids = [b"X-Request-Id: first", b"X-Request-Id: second", b"X-Request-Id: third"]
    picture = encoded(digit_picture())
    slow = post(f"Content-Length: {len(picture)}".encode(), ids[0], body=picture)
    found = said(stack, slow + get(HOST, ids[1]) + get(HOST, ids[2], b"Connection: close"))
    assert [(each.status, each.headers["x-request-id"]) for each in found] == [
        (200, "first"),
        (200, "second"),
        (200, "third"),
    ]


def test_19_what_is_no_request_behind_one_that_is_is_refused_in_its_turn(stack: RunningStack) -> None:
    picture = encoded(digit_picture())
    good = post(f"Content-Length: {len(picture)}".encode(), body=picture)
    found = said(stack, good + get(HOST) + b"\x00garbage" + get(HOST))
    assert [each.told for each in found] == [(200, None), (200, None), MALFORMED]


def test_19_an_upgrade_behind_what_is_not_answered_yet_is_refused_in_its_turn(stack: RunningStack) -> None:
    picture = encoded(digit_picture())
    good = post(f"Content-Length: {len(picture)}".encode(), body=picture)
    found = said(stack, good + get(HOST, *HANDSHAKE, target=STREAM))
    assert [each.told for each in found] == [(200, None), MALFORMED]


def test_19_a_flood_of_requests_whose_answers_nobody_reads_is_not_kept(stack: RunningStack) -> None:
    flood = get(HOST, target=b"/nope") * 200_000
    with cost_of(stack.gateway.popen.pid) as cost, connected(stack.at) as wire:
        wire.settimeout(2)
        with pytest.raises(TimeoutError):  # the gateway reads no more
            wire.sendall(flood)
    assert cost.memory < 20 * MIB


@pytest.mark.parametrize("length", [999_999_999, 11 * MIB], ids=["a gigabyte", "a little too much"])
def test_20_who_asks_before_sending_too_much_is_not_told_to_go_on(stack: RunningStack, length: int) -> None:
    (answer,) = said(stack, post(f"Content-Length: {length}".encode(), b"Expect: 100-continue"))
    assert answer.told == TOO_LARGE


def test_20_who_asks_before_sending_what_is_welcome_is_told_to_go_on(
    stack: RunningStack, digit: bytes
) -> None:
    head = post(f"Content-Length: {len(digit)}".encode(), b"Expect: 100-continue", b"Connection: close")
    interim, answer = said(stack, head, digit, pause=0.3)
    assert (interim.status, answer.status) == (100, 200)


def test_an_upgrade_to_what_is_not_spoken_here_is_ignored(stack: RunningStack) -> None:
    (answer,) = said(stack, get(HOST, b"Connection: upgrade", b"Upgrade: h2c"))
    assert answer.status == 200


def test_nothing_of_it_was_a_bug(stack: RunningStack) -> None:
    log = stack.gateway.log.read_text()
    assert "internal_error" not in log
    assert "Exception in" not in log
    assert "Invalid HTTP request received" not in log  # uvicorn's own line, beside ours
