"""The server's side of the wire: what is refused before it is a request."""

from gateway.http.arrival import arriving
from gateway.http.bounds import Bounds
from gateway.http.departure import departure_of
from gateway.http.guard import Guard
from gateway.http.refusal import refusal_of
from gateway.http.stream_guard import StreamGuard

__all__ = ["Bounds", "Guard", "StreamGuard", "arriving", "departure_of", "refusal_of"]
