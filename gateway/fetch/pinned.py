"""A transport that asks a name once, looks at every address of it, and connects to one that it has looked at."""

import asyncio

import httpx

from gateway.fetch.addresses import Address, is_public
from gateway.fetch.outside import Resolve

_RESOLVE_SECONDS = 2.0


class AddressRefused(Exception):
    """The name leads to an address that is not on the internet."""


class PinnedTransport(httpx.AsyncBaseTransport):
    """In front of `wire`. What is connected to is what was checked, whatever the name says a moment later; the name
    still stands in Host, and the certificate has to be for it.
    """

    def __init__(self, resolve: Resolve, wire: httpx.AsyncBaseTransport) -> None:
        self._resolve = resolve
        self._wire = wire

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises AddressRefused, OSError, TimeoutError, httpx.TransportError."""
        async with asyncio.timeout(_RESOLVE_SECONDS):
            addresses = await self._resolve(request.url.host)
        if not all(map(is_public, addresses)):
            raise AddressRefused("an address of the name is not on the internet")
        best: dict[int, Address] = {}
        for address in addresses:
            best.setdefault(address.version, address)
        return await self._try(request, *best.values())

    async def aclose(self) -> None:
        await self._wire.aclose()

    async def _try(self, request: httpx.Request, address: Address, *others: Address) -> httpx.Response:
        """One address of each family, the resolver's first: a machine may have only one of them."""
        try:
            return await self._wire.handle_async_request(_to(address, request))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if not others:
                raise
        return await self._try(request, *others)


def _to(address: Address, request: httpx.Request) -> httpx.Request:
    """The same request at the address; `Host` is among its headers."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
