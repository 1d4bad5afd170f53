"""The client of Redis, and the one error that everything around it becomes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

CONNECTIONS = 40  # of one client at once


class StoreAway(Exception):
    """Redis is away, slow, or refuses; the text is for the log."""


def connect(url: str, *, timeout: float) -> Redis:
    """A client that gives up early and never tries again: what was sent twice may have been done twice.

    `timeout` bounds each step in seconds (connecting, one answer).
    """
    pool = ConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        # A new connection says nothing but its password, so that one fits into the timeout too.
        protocol=2,
        driver_info=None,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)


@contextmanager
def translated(away: type[StoreAway] = StoreAway) -> Iterator[None]:
    """Raises `away` for all that Redis, or what it holds, can do wrong inside the block."""
    try:
        yield
    except (RedisError, OSError, ValueError) as error:  # the last: something else stands where ours should
        raise away(f"{type(error).__name__}: {error}") from None


def text(value: Any) -> str:
    """What a client answered, whether it decodes or not."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
