"""Reading a body whole, under a cap, a time limit and a budget for all requests; and noticing that a client left."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar, cast

from gateway.api.context import HttpRequest, context_of
from gateway.errors import BodyTimeout, BodyTooLarge, ClientDisconnected, Overloaded, UnsupportedEncoding
from gateway.http import arriving, departure_of
from gateway.telemetry.timeline import Stage

MAX_DOCUMENT_BYTES = 256 * 1024  # a route with a thousand names in `always` has half of it

_DRAIN_FACTOR = 4  # a body up to this many times the cap is read to its end and thrown away
_DRAIN_SECONDS = 2.0
_SMALL_PIECE = 4 * 1024  # bytes up to which pieces are put together: each has some of its own

_T = TypeVar("_T")


class BodyReader:
    """Holds at most `budget` bytes of bodies at once; one body has at most `limit` bytes and `seconds` to arrive.

    One tenant holds at most half of it, or one body, so that nobody fills it alone.
    """

    def __init__(self, *, limit: int, budget: int, seconds: float) -> None:
        self._limit = limit
        self._budget = budget
        self.seconds = seconds
        self._held = 0
        self._share = max(limit, budget // 2)
        self._held_by: Counter[str] = Counter()  # by tenant

    def read(
        self, request: HttpRequest, *, limit: int | None = None, codings: Collection[str] = ()
    ) -> "Reading":
        """The body, as `async with reader.read(request) as body`; its bytes count until the block ends.

        `limit` takes the place of the usual one. With a Content-Encoding of `codings` the body comes as it was sent;
        every other one is refused. Raises UnsupportedEncoding, BodyTooLarge; the block raises BodyTooLarge,
        BodyTimeout, ClientDisconnected, or Overloaded where the budget is spent.
        """
        if content_coding(request) not in ("identity", *codings):
            accepted = " or ".join([*codings, "no"])
            raise UnsupportedEncoding(f"Send the body with {accepted} Content-Encoding.")
        limit = limit or self._limit
        _check_declared(request, limit)
        return Reading(self, request, limit)

    def document(self, request: HttpRequest) -> "Reading":
        """The body of a request that says little, as `read` has it; it is parsed in the event loop."""
        return self.read(request, limit=min(self._limit, MAX_DOCUMENT_BYTES))

    @contextmanager
    def holding(self, tenant: str, size: int) -> Iterator[None]:
        """Counts bytes beside those that were read, such as fetched images. Raises Overloaded."""
        self.take(tenant, size)
        try:
            yield
        finally:
            self.give_back(tenant, size)

    def take(self, tenant: str, size: int) -> None:
        """Room for so many bytes. Raises Overloaded."""
        if self._held + size > self._budget:
            raise Overloaded("Too many bodies are being received.", retry_after=1)
        if self._held_by[tenant] + size > self._share:
            raise Overloaded("Too many of your bodies are being received.", retry_after=1)
        self._held += size
        self._held_by[tenant] += size

    def give_back(self, tenant: str, size: int) -> None:
        """Room that is needed no longer."""
        self._held -= size
        self._held_by[tenant] -= size
        if not self._held_by[tenant]:
            del self._held_by[tenant]


class Reading:
    """A body for the length of a block. A class, and not a generator: every request enters one."""

    __slots__ = ("_limit", "_pieces", "_reader", "_request", "_size", "_tenant")

    def __init__(self, reader: BodyReader, request: HttpRequest, limit: int) -> None:
        self._reader = reader
        self._request = request
        self._tenant = _tenant(request)
        self._limit = limit
        self._pieces: list[bytes | bytearray] = []
        self._size = 0

    async def __aenter__(self) -> bytes:
        try:
            with context_of(self._request).timeline.stage(Stage.BODY):
                await self._collect()
        except BaseException:
            self._give_back()
            raise
        return self._joined()

    async def _collect(self) -> None:
        """The body's pieces, which count from when they are there."""
        try:
            async with asyncio.timeout(self._reader.seconds):
                if await self._next():
                    with arriving(cast("dict[str, Any]", self._request.scope), self._takes):
                        while await self._next():
                            pass
        except TimeoutError:
            raise BodyTimeout("The body did not arrive in time.") from None

    async def _next(self) -> bool:
        """Keeps what the next message holds; whether more is to come."""
        piece, more = await _receive(self._request)
        try:
            self._keep(piece)
        except (BodyTooLarge, Overloaded):
            await _drain(self._request, self._limit, more)
            raise
        return more

    def _takes(self, piece: bytes) -> bool:
        try:
            self._keep(piece)
        except (BodyTooLarge, Overloaded):
            return False  # it comes as a message, and is refused as one
        return True

    def _keep(self, piece: bytes) -> None:
        if self._size + len(piece) > self._limit:
            raise too_large(self._limit)
        self._reader.take(self._tenant, len(piece))
        self._size += len(piece)
        last = self._pieces[-1] if self._pieces else None
        if last is None or len(piece) > _SMALL_PIECE:
            self._pieces.append(piece)
        elif isinstance(last, bytearray):
            last += piece
        else:
            self._pieces.append(bytearray(piece))

    def become(self, whole: bytes) -> None:
        """What the body was unpacked into takes its place. Raises Overloaded."""
        self._give_back()
        self._reader.take(self._tenant, len(whole))
        self._pieces, self._size = [whole], len(whole)

    def _joined(self) -> bytes:
        """The pieces make way for the whole, so a body is held, and counted, once."""
        whole = b"".join(self._pieces)
        self._pieces = [whole]
        return whole

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        self._reader.give_back(self._tenant, self._size)
        self._pieces, self._size = [], 0


def _tenant(request: HttpRequest) -> str:
    """Nobody's name where the caller is not known yet."""
    principal = context_of(request).principal
    return principal.tenant if principal else ""


def content_coding(request: HttpRequest) -> str:
    """What the body is packed in; "identity" where it is not."""
    return request.headers.get("content-encoding", "identity").strip().lower()


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"A body has at most {limit} bytes.")


def _check_declared(request: HttpRequest, limit: int) -> None:
    """A length far beyond the cap is refused before a byte is read; a caller that waits to be asked is not asked."""
    declared = request.headers.get("content-length", "")
    most = limit if "expect" in request.headers else limit * _DRAIN_FACTOR
    if declared.isascii() and declared.isdigit() and int(declared) > most:
        raise too_large(limit)


async def _drain(request: HttpRequest, limit: int, more: bool) -> None:
    """Reads on for a moment: many clients look at the answer only after they have sent everything."""
    left = limit * _DRAIN_FACTOR
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while more and left > 0:
                chunk, more = await _receive(request)
                left -= len(chunk)
    except TimeoutError:
        return


async def while_connected(request: HttpRequest, work: Awaitable[_T]) -> _T:
    """Awaits `work` for as long as the client is there; the body has been read, so nothing else can come from it.

    Raises ClientDisconnected, with `work` cancelled.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a handler runs in one
    departure = departure_of(request.scope)
    departure.watch(task.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if not departure.left:
            raise
        task.uncancel()
        raise ClientDisconnected("The client closed the connection.") from None
    finally:
        departure.forget()


async def _receive(request: HttpRequest) -> tuple[bytes, bool]:
    """One piece of the body, and whether more is to come."""
    message = await request.receive()
    if message["type"] != "http.request":
        raise ClientDisconnected("The client closed the connection.")
    return message["body"], message["more_body"]
