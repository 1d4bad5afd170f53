"""The client of Redis, whichever way its servers stand together."""

from collections.abc import Mapping
from typing import Any, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from gateway.store.address import Kind, StoreAddress, parse
from gateway.store.several import Cluster, primary_of

_TLS_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")

CONNECTIONS = 40  # of one client at once, to each server


def connect(url: str, *, timeout: float) -> Redis:
    """A client that gives up early and never tries again: what was sent twice may have been done twice.

    `url` is as in `address`, `timeout` bounds each step in seconds (connecting, one answer). It connects when it is
    first used. Raises ValueError.
    """
    address = parse(url)
    options = {
        "max_connections": CONNECTIONS,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        # A new connection says nothing but its password, so that one fits into the timeout too.
        "protocol": 2,
        "driver_info": None,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if address.kind is Kind.CLUSTER:
        cluster = Cluster.at(address.nodes, ssl=address.secure, **{**options, **address.options})
        return cast("Redis", cluster)  # it takes the same commands
    if address.kind is Kind.SENTINEL:
        return primary_of(address, options)
    return _server(address, options)


class UnknownOption(ValueError):
    """The client does not take what stands behind the question mark. Its text holds no part of the address."""


def check_options(url: str) -> None:
    """Makes a client and a connection of it, and contacts nobody. Raises UnknownOption."""
    try:
        client = connect(url, timeout=1.0)
        if not isinstance(client, Cluster):
            client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # the library's own
    except (TypeError, RedisError):
        raise UnknownOption(
            "an option behind its question mark is none of the client's, or has a value that it does not take; those "
            "that begin with ssl_ need rediss://"
        ) from None


def tls_files(url: str) -> Mapping[str, str]:
    """The paths that the address names, by the option that does."""
    address = parse(url)
    options = {**address.options, **address.sentinel_options}
    return {name: str(options[name]) for name in _TLS_FILES if name in options}


def _server(address: StoreAddress, options: dict[str, Any]) -> Redis:
    ((host, port),) = address.nodes
    connection = SSLConnection if address.secure else Connection
    ours = {"host": host, "port": port, "connection_class": connection, **options}
    return Redis.from_pool(ConnectionPool(**{**ours, **address.options}))


def text(value: Any) -> str:
    """What a client answered, whether it decodes or not."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
