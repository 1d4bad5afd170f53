"""A TCP proxy between two parts of the stack, for what a network does: it delays, trickles, goes silent and cuts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_CHUNK = 65_536


@dataclass
class Proxy:
    """What it does can be changed while it runs.

    `delay` are seconds that each piece of an answer is held back; `rate` the bytes a second of answers, None for all
    that come; while `silent`, nothing passes either way and nothing is closed; `cut_after` are the bytes of answers
    after which a connection is reset.
    """

    port: int = 0
    delay: float = 0.0
    rate: float | None = None
    silent: bool = False
    cut_after: int | None = None
    connections: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut_all(self) -> None:
        """Resets every connection that is open."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        """One connection, to its end."""
        self.connections += 1
        try:
            there, back = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        pair = {writer, back}
        self._writers |= pair
        try:
            await asyncio.gather(self._questions(reader, back), self._answers(there, writer))
        except ConnectionError:
            pass
        finally:
            for end in pair:
                end.transport.abort()
            self._writers -= pair

    async def _questions(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            await self._while_silent()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passed = 0
        while data := await reader.read(_CHUNK if self.rate is None else 1024):
            await asyncio.sleep(self.delay + (len(data) / self.rate if self.rate else 0.0))
            await self._while_silent()
            passed += len(data)
            if self.cut_after is not None and passed >= self.cut_after:
                writer.write(data[: max(1, len(data) // 2)])
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _while_silent(self) -> None:
        while self.silent:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """Listens on a port of its own and passes on what comes to `host` and `port`."""
    found = Proxy()
    under_way: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        under_way.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await found.relay(reader, writer, host, port)
        under_way.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.port = listener.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listener.close()
        found.cut_all()
        for task in list(under_way):
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the next turn of the loop
