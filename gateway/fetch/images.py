"""From a URL to the bytes of an image, within a few seconds and a few megabytes, from hosts on the operator's list.

Whoever asks learns one of two things: that the URL is not allowed, or that the image could not be fetched, each in
always the same words. The reason is in our log.
"""

import asyncio
from collections.abc import Callable, Collection
from enum import StrEnum
from types import TracebackType
from typing import Self

import httpx
import structlog

from gateway.domain import ImageUrl
from gateway.errors import ImageFetchFailed, UrlNotAllowed
from gateway.fetch.outside import Outside
from gateway.fetch.pinned import AddressRefused, PinnedTransport
from gateway.fetch.urls import host_of

SECONDS = 3.0  # from the name to the last byte
MOST_BYTES = 10 * 1024 * 1024

_AT_ONCE = 32  # fetches, per worker; more wait, within the same seconds
_CONNECT_SECONDS = 1.0
_HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "triton-gateway",
}
_TIMEOUTS = {"connect": _CONNECT_SECONDS, "read": SECONDS, "write": SECONDS, "pool": SECONDS}

_log = structlog.stdlib.get_logger("gateway.fetch")


class Outcome(StrEnum):
    """What came of a URL."""

    FETCHED = "fetched"
    REFUSED = "refused"
    FAILED = "failed"


class _Refused(Exception):
    """The URL is not allowed; the text is for the log."""


class _Failed(Exception):
    """The image did not come; the text is for the log."""


class ImageUrls:
    """`async with ImageUrls(hosts, outside, told) as urls:`; without hosts nothing is ever fetched.

    `told` hears the outcome of each.
    """

    def __init__(self, hosts: Collection[str], outside: Outside, told: Callable[[Outcome], None]) -> None:
        self._hosts = frozenset(hosts)
        self._outside = outside
        self._told = told
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._transport: PinnedTransport | None = None

    async def __aenter__(self) -> Self:
        if self._hosts:
            self._transport = PinnedTransport(self._outside.resolve, self._outside.wire())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            await self._transport.aclose()

    async def fetch(self, image: ImageUrl, hold: Callable[[int], None]) -> bytes:
        """The bytes, whatever they are; `hold` is told of each piece's size before it is kept.

        Raises UrlNotAllowed, ImageFetchFailed, and what `hold` raises.
        """
        host = host_of(image.text, self._hosts)
        try:
            content = await self._get(image.text, host, hold)
        except (_Refused, AddressRefused) as refusal:
            self._note(Outcome.REFUSED, host, refusal)
            raise UrlNotAllowed("This URL may not be fetched.") from None
        except (_Failed, httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as failure:
            self._note(Outcome.FAILED, host, failure)
            raise ImageFetchFailed("The image could not be fetched.") from None
        self._told(Outcome.FETCHED)
        return content

    async def _get(self, url: str, host: str | None, hold: Callable[[int], None]) -> bytes:
        if self._transport is None or host is None:
            raise _Refused("the URL is not of the form, or of a host, that is fetched")
        request = httpx.Request("GET", url, headers=_HEADERS, extensions={"timeout": _TIMEOUTS})
        async with asyncio.timeout(SECONDS), self._places:
            response = await self._transport.handle_async_request(request)
            try:
                _check(response)
                return await _collect(response, hold)
            finally:
                await response.aclose()

    def _note(self, outcome: Outcome, host: str | None, reason: Exception) -> None:
        """`host` is the operator's word, from the list; nothing of the caller's is logged."""
        ours = isinstance(reason, _Refused | _Failed | AddressRefused)
        said = str(reason) if ours else type(reason).__name__
        _log.info("image_not_fetched", outcome=outcome.value, host=host, reason=said)
        self._told(outcome)


def _check(response: httpx.Response) -> None:
    """A redirect is refused, wherever it leads: nobody has looked at that address."""
    if response.is_redirect:
        raise _Refused("it redirects")
    if response.status_code != httpx.codes.OK:
        raise _Failed(f"status {response.status_code}")
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _Failed("it is encoded")
    if int(response.headers.get("content-length", 0)) > MOST_BYTES:
        raise _Failed("it is too large")


async def _collect(response: httpx.Response, hold: Callable[[int], None]) -> bytes:
    """The body as it comes: nothing is inflated."""
    content = bytearray()
    async for piece in response.aiter_raw():
        if len(content) + len(piece) > MOST_BYTES:
            raise _Failed("it is too large")
        hold(len(piece))
        content += piece
    return bytes(content)
