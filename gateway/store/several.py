"""Clients of more than one server: a cluster, and the primary that sentinels know. Both follow a failover."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, ClusterPubSub, RedisCluster
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import RedisClusterException, RedisError

from gateway.store.address import StoreAddress


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

    def pubsub(self, **options: Any) -> ClusterPubSub:  # type: ignore[override]  # the node is never chosen here
        return _Channels(self, **options)


class _Channels(ClusterPubSub):
    """Listens at one node, which hears of what is published at any; a dead one makes it look for where to listen."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with _unreachable():
            await self.cluster.initialize()
            try:
                return await super().execute_command(*args, **options)
            except RedisError:
                await self.cluster.nodes_manager.initialize()
                raise


def primary_of(address: StoreAddress, options: Mapping[str, Any]) -> Redis:
    """A client of the server that the sentinels call the primary; they are asked at each new connection."""
    ours = {"ssl": True, **options} if address.secure else options
    sentinels = Sentinel(  # type: ignore[no-untyped-call]  # the library's own
        address.nodes,
        sentinel_kwargs={**ours, **_tls(address.options), **address.sentinel_options},
        **{**ours, **address.options},
    )
    client: Redis = sentinels.master_for(address.primary, connection_pool_class=_PrimaryPool)
    return client


class _PrimaryPool(SentinelConnectionPool):
    """Closes the connections to the sentinels along with those to the primary."""

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()


def _tls(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}


@contextmanager
def _unreachable() -> Iterator[None]:
    """The library's errors of clusters stand outside its tree; LookupErrors come from a layout without any slots."""
    try:
        yield
    except (RedisClusterException, LookupError) as error:
        raise RedisUnreachable(f"{type(error).__name__}: {error}") from None
