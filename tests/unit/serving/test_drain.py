"""The order of things when a process is told to end, with a server that only writes down what it is told."""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

import pytest

from gateway.serving import Drain


@dataclass
class Server:
    """Its signal handlers, in place of uvicorn's."""

    told: list[int] = field(default_factory=list)

    def handle(self, number: int, _: FrameType | None) -> None:
        self.told.append(number)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    before = {each: signal.signal(each, made.handle) for each in (signal.SIGTERM, signal.SIGINT)}
    yield made
    for each, handler in before.items():
        signal.signal(each, handler)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0.01)


async def test_the_server_hears_of_a_signal_after_the_delay(server: Server) -> None:
    with Drain(0.2) as drain:
        signal.raise_signal(signal.SIGTERM)
        await turns()
        assert drain.begun
        assert server.told == []
        async with asyncio.timeout(5):
            while server.told != [signal.SIGTERM]:
                await asyncio.sleep(0.01)


async def test_the_same_signal_again_ends_all_patience(server: Server) -> None:
    with Drain(60):
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            await turns()
        assert server.told == [signal.SIGTERM, signal.SIGINT]


async def test_a_terminal_and_a_supervisor_say_the_same_thing_once(server: Server) -> None:
    with Drain(60) as drain:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        await turns()
        assert drain.begun
        assert server.told == []


async def test_the_handlers_are_put_back(server: Server) -> None:
    with Drain(60):
        pass
    signal.raise_signal(signal.SIGTERM)
    assert server.told == [signal.SIGTERM]
