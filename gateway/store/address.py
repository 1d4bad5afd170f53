"""Where Redis is, read from a URL: one server, the nodes of a cluster, or the sentinels that know the primary."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import parse_url


class Kind(StrEnum):
    """What stands behind `redis+` or `rediss+` in the scheme."""

    SERVER = ""
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


_PORTS = {Kind.SERVER: 6379, Kind.CLUSTER: 6379, Kind.SENTINEL: 26379}
_FOR_SENTINELS = "sentinel_"  # options of the query that begin so are for the connections to the sentinels


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """`nodes` are those to begin with, as host and port; `primary` the name that the sentinels have for the server.

    `options` are the client's: credentials, database, TLS, and what else the query says. `sentinel_options` likewise
    for the connections to the sentinels, which have users of their own.
    """

    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    secure: bool
    primary: str
    options: Mapping[str, Any] = field(repr=False)
    sentinel_options: Mapping[str, Any] = field(repr=False)


def parse(url: str) -> StoreAddress:
    """Of `redis[s][+cluster|+sentinel]://[user:password@]host[:port],…[/primary][/database][?option=…]`.

    Raises ValueError, whose text holds no part of the URL: there may be a password in any of them.
    """
    # Of several hosts in brackets Python itself knows nothing, and refuses them since 3.11.12 and its like.
    start, _, rest = url.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    parts = urlsplit(f"{start}://{rest.removeprefix(authority)}")
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or kind not in list(Kind):
        raise ValueError(
            "it begins with redis://, redis+cluster:// or redis+sentinel://, or with rediss for TLS"
        )
    kind = Kind(kind)
    credentials, at, hosts = authority.rpartition("@")
    nodes = tuple(_node(text, _PORTS[kind]) for text in hosts.split(","))
    if kind is Kind.SERVER and len(nodes) > 1:
        raise ValueError("several hosts are a cluster's or sentinels': redis+cluster:// or redis+sentinel://")
    primary, database = _names(kind, parts.path)
    options = dict(parse_url(f"{scheme}://{credentials}{at}/{database}?{parts.query}"))
    options.pop("connection_class", None)  # `secure` says the same
    theirs = {name: options.pop(name) for name in list(options) if name.startswith(_FOR_SENTINELS)}
    if kind is not Kind.SENTINEL and theirs:
        raise ValueError("options of sentinels need redis+sentinel://")
    return StoreAddress(
        kind,
        nodes,
        scheme == "rediss",
        primary,
        options,
        {name.removeprefix(_FOR_SENTINELS): value for name, value in theirs.items()},
    )


def _node(text: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port, path = parts.hostname, parts.port, parts.path
    except ValueError:
        host, port, path = None, None, ""
    if not host or path:
        raise ValueError("hosts are host or host:port, separated by commas")
    return unquote(host), default_port if port is None else port


def _names(kind: Kind, path: str) -> tuple[str, str]:
    """The primary's name and the database's number, '' for the first one."""
    first, _, rest = unquote(path).strip("/").partition("/")
    primary, database = (first, rest) if kind is Kind.SENTINEL else ("", first)
    if kind is Kind.SENTINEL and not primary:
        raise ValueError("the name that the sentinels have for the primary is missing: …/mymaster")
    if database and not database.isdecimal():
        raise ValueError("the database is a number")
    if kind is Kind.CLUSTER and int(database or 0):
        raise ValueError("a cluster has database 0 alone")
    return primary, database
