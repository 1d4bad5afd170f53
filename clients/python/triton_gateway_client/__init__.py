"""A typed client of the gateway: `Client`, its twin `AsyncClient`, what they answer and what they raise."""

from triton_gateway_client.client import AsyncClient, Client
from triton_gateway_client.errors import (
    Forbidden,
    GatewayError,
    InvalidRequest,
    ModelFailed,
    NotFound,
    Overloaded,
    RateLimited,
    Refused,
    Unauthenticated,
    Unreachable,
    Unreadable,
)
from triton_gateway_client.results import (
    Answer,
    Box,
    Detection,
    InputError,
    Model,
    Prediction,
    Served,
)
from triton_gateway_client.retries import Retries

__all__ = [
    "Answer",
    "AsyncClient",
    "Box",
    "Client",
    "Detection",
    "Forbidden",
    "GatewayError",
    "InputError",
    "InvalidRequest",
    "Model",
    "ModelFailed",
    "NotFound",
    "Overloaded",
    "Prediction",
    "RateLimited",
    "Refused",
    "Retries",
    "Served",
    "Unauthenticated",
    "Unreachable",
    "Unreadable",
]
