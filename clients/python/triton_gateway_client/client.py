"""The client and its twin for asyncio: the same methods, the same answers, the same errors."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

import httpx

from triton_gateway_client import results
from triton_gateway_client.asks import Ask, DetectOptions, Options, of_images, of_models, of_texts
from triton_gateway_client.errors import GatewayError, Unreachable, Unreadable, reading, refusal
from triton_gateway_client.results import Answer, Detection, Model, Prediction
from triton_gateway_client.retries import Attempts, Budget, Retries

Timeout = float | httpx.Timeout | None
"""Seconds, one for each wait on the network; None: as long as it takes."""

_TIMEOUT: Timeout = httpx.Timeout(30, connect=5)
_DEFAULT = Retries()
_LAST_PORT = 65_535


class Client:
    """`with Client(url, key) as gateway: …`; every method raises a GatewayError. Safe to share between threads. Raises
    ValueError for a URL or a key that cannot be one; methods do, or TypeError, for arguments that cannot be sent.

    An image is the bytes of a JPEG, PNG or WebP. Inference changes nothing, so a call that got no answer is made again.
    """

    def __init__(
        self, url: str, key: str, *, retries: Retries = _DEFAULT, timeout: Timeout = _TIMEOUT
    ) -> None:
        _check(url, key)
        self._http = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=timeout)
        self._retries = retries
        self._budget = Budget(retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def classify(self, *images: bytes, **options: Unpack[Options]) -> Answer[Prediction]:
        return results.classified(self._asked(of_images("/v1/classify", images, options)))

    def classify_texts(self, texts: Sequence[str], **options: Unpack[Options]) -> Answer[Prediction]:
        return results.classified(self._asked(of_texts(texts, options)))

    def detect(self, *images: bytes, **options: Unpack[DetectOptions]) -> Answer[Detection]:
        return results.detected(self._asked(of_images("/v1/detect", images, options)))

    def models(self) -> list[Model]:
        return results.models(self._asked(of_models()))

    def _asked(self, ask: Ask) -> Mapping[str, Any]:
        attempts = Attempts(self._retries, self._budget, time.monotonic())
        while True:
            try:
                return self._once(ask)
            except GatewayError as error:
                pause = attempts.pause(error, time.monotonic())
                if pause is None:
                    raise
            time.sleep(pause)

    def _once(self, ask: Ask) -> Mapping[str, Any]:
        try:
            response = self._http.request(ask.method, ask.path, **ask.parts)
        except httpx.RequestError as error:
            raise _unanswered(error) from error
        return _document(response)


class AsyncClient:
    """`async with AsyncClient(url, key) as gateway: …`; as `Client`."""

    def __init__(
        self, url: str, key: str, *, retries: Retries = _DEFAULT, timeout: Timeout = _TIMEOUT
    ) -> None:
        _check(url, key)
        self._http = httpx.AsyncClient(base_url=url, headers={"X-API-Key": key}, timeout=timeout)
        self._retries = retries
        self._budget = Budget(retries)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def classify(self, *images: bytes, **options: Unpack[Options]) -> Answer[Prediction]:
        return results.classified(await self._asked(of_images("/v1/classify", images, options)))

    async def classify_texts(self, texts: Sequence[str], **options: Unpack[Options]) -> Answer[Prediction]:
        return results.classified(await self._asked(of_texts(texts, options)))

    async def detect(self, *images: bytes, **options: Unpack[DetectOptions]) -> Answer[Detection]:
        return results.detected(await self._asked(of_images("/v1/detect", images, options)))

    async def models(self) -> list[Model]:
        return results.models(await self._asked(of_models()))

    async def _asked(self, ask: Ask) -> Mapping[str, Any]:
        attempts = Attempts(self._retries, self._budget, time.monotonic())
        while True:
            try:
                return await self._once(ask)
            except GatewayError as error:
                pause = attempts.pause(error, time.monotonic())
                if pause is None:
                    raise
            await asyncio.sleep(pause)

    async def _once(self, ask: Ask) -> Mapping[str, Any]:
        try:
            response = await self._http.request(ask.method, ask.path, **ask.parts)
        except httpx.RequestError as error:
            raise _unanswered(error) from error
        return _document(response)


def _check(url: str, key: str) -> None:
    """What no request can be made with would look like a server that is away, and be tried again and again."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"the URL of a gateway cannot be {url!r}: {error}") from error
    if parsed.scheme not in ("http", "https"):
        raise ValueError("the URL of a gateway begins with http:// or https://")
    if not parsed.host or any(each.isspace() for each in url) or (parsed.port or 0) > _LAST_PORT:
        raise ValueError(f"the URL of a gateway cannot be {url!r}: it names no host and port")
    if not (key.isascii() and key.isprintable()) or key != key.strip():
        raise ValueError("the key has characters that no key has")


def _document(response: httpx.Response) -> Mapping[str, Any]:
    """The JSON of an answer. Raises Refused, Unreadable: the gateway sends nobody anywhere else."""
    if response.is_error:
        raise refusal(response)
    if not response.is_success:
        raise Unreadable(f"this is no answer of a gateway: {response.status_code} {response.reason_phrase}")
    with reading():
        document: Mapping[str, Any] = response.json()
    return document


def _unanswered(error: httpx.RequestError) -> GatewayError:
    told = str(error) or type(error).__name__
    return Unreachable(told) if isinstance(error, httpx.TransportError) else Unreadable(told)
