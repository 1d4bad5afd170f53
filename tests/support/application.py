"""The framework's application, within the layers around it."""

from typing import Any

from litestar import Litestar
from litestar.routes import BaseRoute

from gateway.app import build
from gateway.settings import Settings


def routes_of_a_gateway() -> list[BaseRoute]:
    """All that a gateway with nothing but its secrets answers to."""
    layer: Any = build(Settings.model_validate({"key_pepper": "p" * 32, "token_secret": "t" * 32}))
    while not isinstance(layer, Litestar):
        layer = layer._app
    return layer.routes
