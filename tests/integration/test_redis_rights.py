"""The whole gateway as the Redis user of docs/access.md: nothing is refused to it, and nothing is granted in vain."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import redis as blocking
from processes import running, wait_listening
from stack import ADMINISTRATION, Addresses, create_key, free_addresses
from stack import redis as redis_part
from support.everything import PASSWORD, documented_line, everything, two_versions
from support.fake_triton import serving
from support.serving import served, until_ready


@pytest.fixture
def own_redis() -> Iterator[Addresses]:
    at = free_addresses()
    with running(redis_part(at)):
        wait_listening(at.redis_address, at.redis_port)
        yield at


def admin_of(at: Addresses) -> Any:
    return blocking.Redis(at.redis_address, port=at.redis_port, decode_responses=True)


async def test_the_documented_user_is_enough_for_everything_and_has_no_right_to_spare(
    own_redis: Addresses,
) -> None:
    fake = two_versions()
    admin = admin_of(own_redis)
    line = documented_line()
    admin.execute_command(*line)
    key = await asyncio.to_thread(create_key, own_redis, "operators", *ADMINISTRATION)
    admin.execute_command("CONFIG", "RESETSTAT")
    admin.execute_command("SCRIPT", "FLUSH")
    url = f"redis://{line[2]}:{PASSWORD}@{own_redis.redis_address}:{own_redis.redis_port}/0"
    async with serving(fake) as triton, served(own_redis, key, triton, redis_url=url) as gateway:
        await until_ready(gateway)
        await everything(gateway, fake)
    used = {name.removeprefix("cmdstat_").split("|")[0] for name in admin.info("commandstats")}
    assert admin.execute_command("ACL", "LOG") == []
    granted = {word[1:].split("|")[0] for word in line if word.startswith("+")}
    assert granted - used == set()


@pytest.mark.parametrize(
    "command",
    [
        ["KEYS", "*"],
        ["FLUSHALL"],
        ["CONFIG", "GET", "*"],
        ["ACL", "LIST"],
        ["EVAL", "return 1", "0"],
        ["GET", "other"],
        ["HGETALL", "gwx:keys"],
        ["PUBLISH", "other", "x"],
        ["SCRIPT", "FLUSH"],
        ["DEL", "{other}"],
    ],
    ids=" ".join,
)
def test_the_documented_user_may_do_nothing_else(own_redis: Addresses, command: list[str]) -> None:
    line = documented_line()
    admin_of(own_redis).execute_command(*line)
    user = blocking.Redis(
        own_redis.redis_address, port=own_redis.redis_port, username=line[2], password=PASSWORD
    )
    with pytest.raises(blocking.exceptions.NoPermissionError):
        user.execute_command(*command)
