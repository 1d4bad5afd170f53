"""HTTP by hand: bytes out, and all answers that come back until the other side ends the connection, which it must."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from stack import Addresses

SECONDS = 60.0  # far beyond every bound; a connection that is open then hangs


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def told(self) -> tuple[int, str | None]:
        """Its status, and its code where it is a problem."""
        is_problem = self.headers.get("content-type") == "application/problem+json"
        return self.status, self.problem["code"] if is_problem else None


@contextlib.contextmanager
def connected(at: Addresses) -> Iterator[socket.socket]:
    with socket.create_connection((at.gateway_host, at.gateway_port), timeout=SECONDS) as wire:
        yield wire


def send(wire: socket.socket, *pieces: bytes, pause: float = 0.0) -> None:
    """Until all is sent or the other side does not want it any more."""
    with contextlib.suppress(ConnectionError):
        for index, piece in enumerate(pieces):
            time.sleep(pause if index else 0.0)
            wire.sendall(piece)


def read_to_end(wire: socket.socket) -> bytes:
    """Raises TimeoutError where the other side keeps the connection."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while data := wire.recv(65536):
            said += data
    return said


def exchange(at: Addresses, *pieces: bytes, pause: float = 0.0) -> list[Answer]:
    """The answers to these bytes, sent with `pause` seconds between the pieces."""
    with connected(at) as wire:
        send(wire, *pieces, pause=pause)
        return answers(read_to_end(wire))


def answers(said: bytes) -> list[Answer]:
    """Each with a Content-Length; interim ones (1xx) without."""
    stream, found = BytesIO(said), []
    while line := stream.readline():
        status = int(line.split()[1])
        headers = {}
        while (field := stream.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        found.append(Answer(status, headers, stream.read(int(headers.get("content-length", 0)))))
    return found


def get(*lines: bytes, target: bytes = b"/livez", version: bytes = b"HTTP/1.1") -> bytes:
    """A head without a Host but for what `lines` say."""
    return b"\r\n".join([b"GET " + target + b" " + version, *lines, b"", b""])


KEY = b"<key>"  # stands for the key of whoever sends it


def post(*lines: bytes, body: bytes = b"") -> bytes:
    """A request to /v1/classify with all that it needs but a length."""
    head = [b"POST /v1/classify HTTP/1.1", b"Host: gateway", b"X-API-Key: " + KEY, b"Content-Type: image/png"]
    return b"\r\n".join([*head, *lines, b"", b""]) + body


def post_in_chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)
