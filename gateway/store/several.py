"""Clients of more than one server: a cluster, and the primary that sentinels know. Both follow a failover."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self, cast

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, ClusterPipeline, ClusterPubSub, PipelineCommand, RedisCluster
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.cluster import PRIMARY
from redis.exceptions import ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import TimeoutError as RedisSlow

from gateway.store.address import StoreAddress
from gateway.store.failures import FAILURES

_MOVED_ON = (
    RedisUnreachable,
    RedisSlow,
    ClusterDownError,
)  # answers of a node that may not be the right one any more


class Cluster(RedisCluster):
    """A client of a cluster that behaves as that of one server does where the library's own differs.

    It connects when it is first used, its errors are all RedisErrors, and closing it closes every connection. It
    follows a redirection, because then nothing has run yet; nothing else is sent twice.
    """

    @classmethod
    def at(cls, nodes: Sequence[tuple[str, int]], **options: Any) -> "Cluster":
        """`nodes` are those to ask for all the others."""
        return cls(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            # Their names are resolved again, so a cluster whose addresses have all changed is still found.
            dynamic_startup_nodes=False,
            # A slot that moved is noted; the library would also cut all calls in flight at every fifth.
            reinitialize_steps=0,
            **options,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
        # What failed last waits to be set up again, which the library takes for closed.
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")

    async def initialize(self, *args: Any, **options: Any) -> "Cluster":
        with _unreachable():
            await super().initialize(*args, **options)
        return self

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with _unreachable():
            return await super().execute_command(*args, **options)

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        """By its name alone the library asks for one node: that to which a slot is on its way."""
        if node_name is None:
            return super().get_node(host, port)
        found = super().get_node(node_name=node_name) or self._new_node(node_name)
        return cast("ClusterNode", _Importing(found))

    def _new_node(self, name: str) -> ClusterNode:
        host, _, port = name.rpartition(":")
        node = ClusterNode(host, int(port), PRIMARY, **self.connection_kwargs)
        self.nodes_manager.set_nodes(self.nodes_manager.nodes_cache, {name: node})
        return node

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> ClusterPipeline:
        return _Pipeline(self, transaction)  # type: ignore[abstract]  # as the library makes its own

    def pubsub(self, **options: Any) -> ClusterPubSub:  # type: ignore[override]  # the node is never chosen here
        return _Channels(self, **options)


class _Importing:
    """A node that a slot is moving to. It answers for the slot only right after ASKING on the same connection, and the
    library sends the two over whichever are free."""

    def __init__(self, node: ClusterNode) -> None:
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    async def execute_command(self, *args: Any, asking: bool = False, **options: Any) -> Any:
        if args == ("ASKING",):
            return None
        commands = [PipelineCommand(0, "ASKING"), PipelineCommand(1, *args, **options)]
        await self._node.execute_pipeline(commands)
        answer = commands[1].result
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Pipeline(ClusterPipeline):
    """Commands to one or more nodes, and looks for where they are now if one fails."""

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        with _noticed(self.cluster_client):
            answers = await super().execute(raise_on_error, allow_redirections)
        if any(isinstance(answer, _MOVED_ON) for answer in answers):
            _look_again(self.cluster_client)
        return answers


class _Channels(ClusterPubSub):
    """Listens at one node, which hears of what is published at any, and looks for another if it is gone."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with _noticed(self.cluster):
            await self.cluster.initialize()
            return await super().execute_command(*args, **options)


def primary_of(address: StoreAddress, options: Mapping[str, Any]) -> Redis:
    """A client of the server that the sentinels call the primary; they are asked at each new connection."""
    ours = {"ssl": True, **options} if address.secure else options
    sentinels = _Sentinels(  # type: ignore[no-untyped-call]  # the library's own
        address.nodes,
        sentinel_kwargs={**ours, **_tls(address.options), **address.sentinel_options},
        **{**ours, **address.options},
    )
    client: Redis = sentinels.master_for(address.primary, connection_pool_class=_PrimaryPool)
    return client


class _Sentinels(Sentinel):
    """Any number may ask for the primary at once, and all sentinels stay known.

    The library moves the one that answered to the front of its list while others go over the same list, and of two
    that change places at once one is overwritten: never asked again, its connections never closed.
    """

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        asked = copy(self)
        asked.sentinels = list(self.sentinels)
        found: tuple[str, int] = await Sentinel.discover_master(asked, service_name)
        self.sentinels = asked.sentinels
        return found


class _PrimaryPool(SentinelConnectionPool):
    """Closes the connections to the sentinels along with those to the primary."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _tls(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}


def _look_again(client: RedisCluster) -> None:
    """Its next command asks for the layout first; the library sees to that after single commands that fail, only."""
    client._initialize = True  # noqa: SLF001  # as the library does it


@contextmanager
def _noticed(client: RedisCluster) -> Iterator[None]:
    try:
        with _unreachable():
            yield
    except RedisError:
        _look_again(client)
        raise


@contextmanager
def _unreachable() -> Iterator[None]:
    """What is no RedisError yet, as of a layout that makes no sense or is being read, becomes one."""
    try:
        yield
    except RedisError:
        raise
    except FAILURES as error:
        raise RedisUnreachable(f"{type(error).__name__}: {error}") from None
