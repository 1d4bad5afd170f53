"""Whatever stands where Redis should answer, the store is away and nothing else happens."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from redis import exceptions
from redis.asyncio import Redis

from gateway.auth.denylist import DeniedTokens
from gateway.store import Area, Audit, Documents, StoreAway, connect, translated

ANSWERS = (
    b"+OK\r\n",
    b":1\r\n",
    b"$-1\r\n",
    b"$2\r\n[]\r\n",
    b"*2\r\n$1\r\na\r\n:1\r\n",
    b"*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$5\r\nactor\r\n$1\r\nb\r\n",
    b"-MOVED 1 127.0.0.1:1\r\n",
    b"-ASK 1 127.0.0.1:1\r\n",
    b"-NOSCRIPT none\r\n",
    b"*1\r\n" * 400,
)
NOISE = b"*$+-:_#,\r\n0123456789\xff{["

ASKED: Mapping[str, Callable[[Redis], Awaitable[object]]] = {
    "a position": lambda redis: Documents(redis, key="k", channel="c").position(),
    "a script": lambda redis: Documents(redis, key="k", channel="c").read(),
    "a document": lambda redis: Documents(redis, key="k", channel="c").get("name"),
    "a log": lambda redis: Audit(redis).notes(lambda _: True, limit=1),
    "a note": lambda redis: Audit(redis).keep("me", Area.KEYS, "make", "it"),
    "a sorted set": lambda redis: DeniedTokens(redis).read(0.0),
}


@asynccontextmanager
async def babbling(draw: random.Random) -> AsyncIterator[int]:
    """The port of a server that answers each message with what looks like answers, mostly broken."""

    def broken() -> bytes:
        answer = bytearray(draw.choice(ANSWERS))
        for _ in range(draw.randint(0, 3)):
            answer[draw.randrange(len(answer))] = draw.choice(NOISE)
        return bytes(answer)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65_536):
            writer.write(b"".join(broken() for _ in range(draw.randint(1, 3))))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_answers_that_make_no_sense_are_a_store_that_is_away(scheme: str) -> None:
    away = 0
    async with babbling(random.Random(2011)) as port:
        for _ in range(40):
            async with connect(f"{scheme}://127.0.0.1:{port}", timeout=0.02) as redis:
                for ask in ASKED.values():
                    try:
                        await ask(redis)
                    except StoreAway:
                        away += 1
    assert away > 100


_OLD_SCRIPT = "Error running script (call to f_1): @user_script:2: -%s"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        pytest.param(exceptions.OutOfMemoryError("command not allowed"), "is full", id="full"),
        pytest.param(
            exceptions.ResponseError(_OLD_SCRIPT % "OOM command"), "is full", id="full, to a script"
        ),
        pytest.param(exceptions.ReadOnlyError("You can't write"), "is read-only", id="read-only"),
        pytest.param(
            exceptions.ResponseError(_OLD_SCRIPT % "READONLY You"),
            "is read-only",
            id="read-only, to a script",
        ),
        pytest.param(
            exceptions.ResponseError("MISCONF Errors writing to the AOF file"),
            "cannot write to its disk",
            id="its disk is full",
        ),
    ],
)
def test_a_store_that_takes_no_changes_is_not_said_to_be_away(error: Exception, state: str) -> None:
    with pytest.raises(StoreAway) as told, translated():
        raise error
    assert told.value.state == f"{state}, and takes no changes"


def test_any_other_store_does_not_answer() -> None:
    with pytest.raises(StoreAway) as told, translated():
        raise exceptions.ConnectionError("Connection refused")
    assert told.value.state == "does not answer"
