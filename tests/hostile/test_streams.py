"""Bytes on a stream that are no WebSocket, or one that does not play fair: the connection ends, and nothing else."""

import contextlib
import os
import socket
import struct

import pytest
from processes import RunningStack
from support.hostile import cost_of
from support.wire import answers

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_SECONDS = 30.0
FIN, TEXT, BINARY, PING, PONG, CLOSE = 0x80, 0x1, 0x2, 0x9, 0xA, 0x8


def frame(opcode: int, payload: bytes, *, masked: bool = True, length: int | None = None) -> bytes:
    """A frame by hand; `length` is what it says of itself, where that is not the truth."""
    size = len(payload) if length is None else length
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack(">BB", opcode, bit | size)
    elif size < 65536:
        head = struct.pack(">BBH", opcode, bit | 126, size)
    else:
        head = struct.pack(">BBQ", opcode, bit | 127, size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def handshake(stack: RunningStack, *lines: str, key: str = _KEY, method: str = "GET") -> bytes:
    head = [
        f"{method} /v1/detect/stream HTTP/1.1",
        f"Host: 127.0.0.1:{stack.at.gateway_port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        f"X-API-Key: {stack.key}",
        *([f"Sec-WebSocket-Key: {key}"] if key else []),
        *(lines or ["Sec-WebSocket-Version: 13"]),
    ]
    return "\r\n".join([*head, "", ""]).encode()


def everything_said(stack: RunningStack, *pieces: bytes) -> bytes:
    """What the gateway says until it ends the connection, which it must."""
    at = ("127.0.0.1", stack.at.gateway_port)
    said = b""
    with socket.create_connection(at, timeout=_SECONDS) as wire, contextlib.suppress(ConnectionError):
        for piece in pieces:
            wire.sendall(piece)
            if piece.startswith(b"GET"):
                said += wire.recv(65536)
        while data := wire.recv(65536):
            said += data
    return said


def test_an_old_version_of_websocket_is_told_the_one_that_is_spoken(stack: RunningStack) -> None:
    (answer,) = answers(everything_said(stack, handshake(stack, "Sec-WebSocket-Version: 12")))
    assert answer.told == (426, "upgrade_required")
    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize(
    ("lines", "key", "method"),
    [
        (["X-Nothing: at all"], _KEY, "GET"),
        (["Sec-WebSocket-Version: 13"], "", "GET"),
        (["Sec-WebSocket-Version: 13"], _KEY, "POST"),
    ],
    ids=["no version", "no key", "a POST"],
)
def test_a_handshake_that_is_none_is_a_bad_request(
    stack: RunningStack, lines: list[str], key: str, method: str
) -> None:
    said = everything_said(stack, handshake(stack, *lines, key=key, method=method))
    (answer,) = answers(said)
    assert 400 <= answer.status < 500
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "sent",
    [
        frame(FIN | BINARY, b"x" * 10, masked=False),
        frame(FIN | 0x3, b"x"),
        frame(FIN | 0x40 | BINARY, b"x"),
        frame(FIN | TEXT, b"\xff\xfe\xfd"),
        frame(FIN | PING, b"x" * 126),
        frame(PING, b"x"),
        frame(FIN | 0x0, b"x"),
        frame(BINARY, b"x") + frame(FIN | BINARY, b"x"),
        frame(FIN | CLOSE, b"\x00"),
        frame(FIN | CLOSE, struct.pack(">H", 1005)),
        frame(FIN | BINARY, b"x", length=2**62) + os.urandom(5_000_000),
        frame(BINARY, b"x" * 1000) + frame(0x0, b"x" * 60_000) * 80,
        os.urandom(4096),
    ],
    ids=[
        "not masked",
        "an unknown kind",
        "a reserved bit",
        "a text that is none",
        "a long ping",
        "half a ping",
        "the rest of nothing",
        "a message within another",
        "half a reason to close",
        "a reason that may not be said",
        "a length beyond all bounds",
        "a message without an end",
        "noise",
    ],
)
def test_frames_that_break_the_rules_end_the_stream(stack: RunningStack, sent: bytes) -> None:
    said = everything_said(stack, handshake(stack), sent, frame(FIN | CLOSE, b""))
    assert b" 101 " in said
    assert b"internal_error" not in said


def test_a_flood_of_options_costs_no_answer(stack: RunningStack) -> None:
    flood = frame(FIN | TEXT, b"{}") * 20_000
    said = everything_said(stack, handshake(stack), flood, frame(FIN | CLOSE, b""))
    assert len(said) < 2000


@pytest.mark.parametrize("kind", [PING, PONG, TEXT], ids=["pings", "pongs", "texts"])
def test_a_flood_of_small_frames_is_hung_up_on_before_it_costs_anything(
    stack: RunningStack, kind: int
) -> None:
    with cost_of(stack.gateway.popen.pid) as cost:
        said = everything_said(stack, handshake(stack), frame(FIN | kind, b"{}") * 1_000_000)
    assert b" 101 " in said
    assert cost.cpu < 2  # to read them all took ten times as long


def test_nothing_of_it_was_a_bug(stack: RunningStack) -> None:
    log = stack.gateway.log.read_text()
    assert "internal_error" not in log
    assert "Exception in ASGI" not in log
