"""Commands that are asked in one turn of the event loop, sent together: each alone costs a connection, two system calls
and a task."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import NoScriptError

_Asked = Sequence[tuple[tuple[object, ...], "asyncio.Future[Any]"]]


class Pipeline(Protocol):
    def execute_command(self, *words: Any) -> Any: ...

    async def execute(self, raise_on_error: bool = True) -> list[Any]: ...


class Client(Protocol):
    """What is needed of a Redis client, be it of one server or of a cluster."""

    def pipeline(self, transaction: Any = None) -> Any: ...

    async def execute_command(self, *words: Any, **options: Any) -> Any: ...


class Pipelined:
    """`script` is what EVALSHA may name; it is loaded where the server does not know it (any more).

    At most `most` pipelines are under way at once; what waited longer than `patience` seconds for one fails with
    TimeoutError. A pipeline always ends, also where nobody waits any more: a connection is never left with an answer
    that nobody read.
    """

    def __init__(self, redis: Client, *, script: str, most: int, patience: float) -> None:
        self._redis = redis
        self._script = script
        self._patience = patience
        self._slots = asyncio.Semaphore(most)
        self._asked: list[tuple[tuple[object, ...], asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, *words: object) -> "asyncio.Future[Any]":
        """The answer to come. Wait for it with `asyncio.wait`, which leaves it to the others who want to know."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._send)
        self._asked.append((words, answer))
        return answer

    async def drain(self) -> None:
        """Returns when everything that was asked so far has ended."""
        await asyncio.sleep(0)
        while self._running:
            await asyncio.wait(self._running)

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._exchange(asked))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _exchange(self, asked: _Asked) -> None:
        since = asyncio.get_running_loop().time()
        try:
            async with self._slots:
                self._check(since)
                answers = await self._answers(asked)
        except Exception as error:  # noqa: BLE001  # for those who asked
            answers = [error] * len(asked)
        for (_, answer), found in zip(asked, answers, strict=True):
            _settle(answer, found)

    def _check(self, since: float) -> None:
        if asyncio.get_running_loop().time() - since > self._patience:
            raise TimeoutError("no connection free in time")

    async def _answers(self, asked: _Asked) -> list[Any]:
        answers = await self._piped(asked)
        unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:  # a new or emptied server; nothing of these has run, so this is no second time
            await self._redis.execute_command("SCRIPT LOAD", self._script)
            again = await self._piped([asked[index] for index in unknown])
            for index, answer in zip(unknown, again, strict=True):
                answers[index] = answer
        return answers

    async def _piped(self, asked: _Asked) -> list[Any]:
        pipeline: Pipeline = self._redis.pipeline(transaction=False)
        for words, _ in asked:
            pipeline.execute_command(*words)
        return await pipeline.execute(raise_on_error=False)


def _settle(answer: "asyncio.Future[Any]", found: Any) -> None:
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
