"""The server's side of the wire: what is refused before it is a request."""

from gateway.http.bounds import Bounds
from gateway.http.guard import Guard
from gateway.http.refusal import refusal_of

__all__ = ["Bounds", "Guard", "refusal_of"]
