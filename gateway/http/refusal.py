"""How the parser tells the application that a request is refused: in the scope, so that it is answered like others."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from gateway.errors import GatewayError

_KEY = "gateway.refused"


def refuse(scope: MutableMapping[str, Any], error: GatewayError) -> None:
    scope["state"][_KEY] = error


def refusal_of(scope: Mapping[str, Any]) -> GatewayError | None:
    """Why the server refuses the request, at its head or, later, within its body."""
    refused: GatewayError | None = scope.get("state", {}).get(_KEY)
    return refused
