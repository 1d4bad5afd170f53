"""Whether a request to upgrade is the handshake of a WebSocket: asked of the library that is to answer it."""

from wsproto import ConnectionType, WSConnection
from wsproto.events import RejectConnection
from wsproto.utilities import RemoteProtocolError

from gateway.errors import MalformedHttp, UpgradeRequired
from gateway.http.bounds import Headers

_NONE = "A WebSocket is opened by GET over HTTP/1.1, with Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key."


def handshake_error(
    method: bytes, target: bytes, version: str, headers: Headers
) -> MalformedHttp | UpgradeRequired | None:
    """What uvicorn would answer with an empty body, or with nothing at all where a header is not ASCII."""
    lines = [name + b": " + value for name, value in headers]
    head = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""])
    try:
        WSConnection(ConnectionType.SERVER).receive_data(head)
    except RemoteProtocolError as error:
        hint = error.event_hint
        if isinstance(hint, RejectConnection) and hint.status_code == 426:
            return UpgradeRequired("The version of WebSocket that is spoken here is 13.")
        return MalformedHttp(_NONE)
    except UnicodeError:
        return MalformedHttp(_NONE)
    return None if version == "1.1" else MalformedHttp(_NONE)
