"""Names are looked up on threads that hold nothing up."""

import asyncio
import socket
import threading
from ipaddress import ip_address
from typing import Any

import pytest

from gateway.fetch.outside import SystemResolver


async def test_a_name_is_asked_for_as_a_whole_one_and_its_addresses_keep_their_order() -> None:
    asked: list[Any] = []

    def lookup(host: str, port: int, **options: object) -> list[Any]:
        asked.append((host, port, options))
        return [(10, 1, 6, "", ("2606:4700::1", 443, 0, 0)), (2, 1, 6, "", ("93.184.215.14", 443))]

    found = await SystemResolver(lookup)("images.example")
    assert list(found) == [ip_address("2606:4700::1"), ip_address("93.184.215.14")]
    assert asked == [("images.example.", 443, {"type": socket.SOCK_STREAM})]


async def test_a_name_that_is_not_found_raises() -> None:
    def lookup(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    with pytest.raises(OSError, match="no such name"):
        await SystemResolver(lookup)("images.example")


async def test_lookups_that_hang_hold_eight_threads_at_most_and_the_rest_wait_for_one() -> None:
    go, began = threading.Event(), []

    def lookup(host: str, *_: object, **__: object) -> list[Any]:
        began.append(host)
        assert go.wait(30)
        return [(2, 1, 6, "", ("93.184.215.14", 443))]

    resolve = SystemResolver(lookup)
    given_up = [asyncio.create_task(resolve(f"{number}.example")) for number in range(20)]
    while len(began) < 8:
        await asyncio.sleep(0.001)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    late = asyncio.create_task(resolve("late.example"))
    await asyncio.sleep(0)
    assert len(began) == 8
    go.set()
    assert len(await late) == 1
    assert len(began) == 9


async def test_nobody_waits_at_the_end_for_a_lookup_that_hangs() -> None:
    go = threading.Event()

    def lookup(*_: object, **__: object) -> list[Any]:
        go.wait(30)
        return []

    task = asyncio.create_task(SystemResolver(lookup)("images.example"))
    await asyncio.sleep(0)
    (thread,) = [each for each in threading.enumerate() if each.name == "gateway-resolver"]
    assert thread.daemon
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    go.set()
    thread.join()
