"""Whether a request to upgrade is the handshake of a WebSocket: asked of the library that is to answer it."""

from wsproto import ConnectionType, WSConnection
from wsproto.utilities import RemoteProtocolError

from gateway.errors import MalformedHttp
from gateway.http.bounds import Headers


def handshake_error(method: bytes, target: bytes, version: str, headers: Headers) -> MalformedHttp | None:
    """What uvicorn would answer with an empty 400, or with nothing at all where a header is not ASCII."""
    if version == "1.1" and _is_handshake(method, target, headers):
        return None
    return MalformedHttp(
        "A WebSocket is opened by GET over HTTP/1.1, with Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key."
    )


def _is_handshake(method: bytes, target: bytes, headers: Headers) -> bool:
    lines = [name + b": " + value for name, value in headers]
    head = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""])
    try:
        WSConnection(ConnectionType.SERVER).receive_data(head)
    except (RemoteProtocolError, UnicodeError):
        return False
    return True
