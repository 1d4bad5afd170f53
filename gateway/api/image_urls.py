"""The images that a request names by URL, in place of their URLs: paid for first, and held as a body is held."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Protocol

from gateway.api.access import Access
from gateway.api.body import BodyReader, while_connected
from gateway.api.context import Context, HttpRequest
from gateway.domain import Content, ImageUrl
from gateway.errors import DeadlineExceeded, InputError, Overloaded
from gateway.telemetry.timeline import Stage

Named = Content | ImageUrl | InputError
Held = Content | InputError


class Urls(Protocol):
    async def fetch(self, image: ImageUrl, hold: Callable[[int], None]) -> bytes: ...


class Fetching:
    """Puts what was fetched where the URL stood; a URL that gave nothing becomes that input's error."""

    def __init__(self, urls: Urls, bodies: BodyReader, access: Access) -> None:
        self._urls = urls
        self._bodies = bodies
        self._access = access

    @asynccontextmanager
    async def contents(
        self, request: HttpRequest, context: Context, inputs: Sequence[Named], within: float | None
    ) -> AsyncIterator[tuple[Sequence[Held], int]]:
        """The inputs, and how many units the caller has paid for them by now; the images count as held until the block
        ends. `within` is in seconds from the request's first byte.

        Raises RateLimited, Overloaded, DeadlineExceeded, ClientDisconnected.
        """
        held: list[Held] = [item for item in inputs if not isinstance(item, ImageUrl)]
        if len(held) == len(inputs):
            yield held, 1
            return
        await self._access.charge_more(context, len(inputs) - 1)
        left = None if within is None else context.started + within - context.timeline.clock()
        with ExitStack() as room:
            work = self._in_place(
                inputs, lambda size: room.enter_context(self._bodies.holding(context.caller.tenant, size))
            )
            try:
                async with asyncio.timeout(left):
                    with context.timeline.stage(Stage.FETCH):
                        found = await while_connected(request, work)
            except TimeoutError:
                raise DeadlineExceeded("The request ran out of time.") from None
            yield found, len(inputs)

    async def _in_place(self, inputs: Sequence[Named], hold: Callable[[int], None]) -> list[Held]:
        found = await asyncio.gather(*(self._content(item, hold) for item in inputs))
        for item in found:
            if isinstance(item, Overloaded):
                raise item
        return [item for item in found if not isinstance(item, Overloaded)]

    async def _content(self, item: Named, hold: Callable[[int], None]) -> Held | Overloaded:
        """Raises nothing, so that no fetch goes on when another has failed."""
        if not isinstance(item, ImageUrl):
            return item
        try:
            return await self._urls.fetch(item, hold)
        except (InputError, Overloaded) as error:
            return error
