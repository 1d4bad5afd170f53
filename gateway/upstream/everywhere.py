"""What is asked of all Tritons, beside the calls: their descriptions, their statistics, what they shall load."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, TypeVar

from gateway.catalog import Inventory
from gateway.domain import Array, InferCall, RepositoryEntry, WantedConfig
from gateway.errors import ConnectionFailed, GatewayError
from gateway.upstream.client import TritonClient
from gateway.upstream.replicas import Replica, Replicas

UNREACHABLE = "UNREACHABLE"

_T = TypeVar("_T")
_LATEST = {"last_inference"}  # of these the highest counts, of all other numbers the sum


class EveryTriton:
    """Each method raises UpstreamError, where all are asked only if none of them answers."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas

    @property
    def endpoints(self) -> list[str]:
        """host:port of each."""
        return [each.endpoint for each in self._replicas.members]

    @property
    def release(self) -> tuple[int, ...]:
        """The oldest release of those that have said theirs, such as (2, 51, 0)."""
        return min(
            (each.triton.release for each in self._replicas.members if each.triton.release), default=()
        )

    def away(self) -> Mapping[str, str]:
        """The endpoints whose last reading failed, and why."""
        failures = {each.endpoint: each.failure for each in self._replicas.members if each.failure}
        return {endpoint: failure.internal or str(failure) for endpoint, failure in failures.items()}

    async def inventory(self) -> Inventory:
        """What they serve together."""
        return await self._replicas.inventory()

    async def repository(self) -> list[RepositoryEntry]:
        """Every version that any of them knows of, once for each of them."""
        answers = await self._asked(TritonClient.repository)
        found = [
            replace(entry, endpoint=endpoint)
            for endpoint, entries in answers.items()
            if not isinstance(entries, GatewayError)
            for entry in entries
        ]
        versions = dict.fromkeys((entry.model, entry.version) for entry in found)
        for endpoint, failure in answers.items():
            if isinstance(failure, GatewayError):
                reason = failure.internal or str(failure)
                found += [RepositoryEntry(*each, UNREACHABLE, reason, endpoint) for each in versions]
        return found

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        """One entry a version, of all of them together; an empty `model` asks for all models."""

        async def ask(triton: TritonClient) -> Sequence[Mapping[str, Any]]:
            return await triton.statistics(model, version)

        asked = self._replicas.serving((model, version)) if model and version else None
        answers = await self._asked(ask, asked)
        sums: dict[tuple[str, str], Mapping[str, Any]] = {}
        for entry in chain.from_iterable(a for a in answers.values() if not isinstance(a, GatewayError)):
            key = entry["name"], entry["version"]
            sums[key] = _sum(sums[key], entry) if key in sums else entry
        return list(sums.values())

    async def metadata(self, model: str, version: str) -> Mapping[str, Any]:
        """The description of one that serves it."""
        with self._one(model, version).asked() as triton:
            return await triton.metadata(model, version)

    async def config(self, model: str, version: str) -> Mapping[str, Any]:
        """The configuration of one that serves it."""
        with self._one(model, version).asked() as triton:
            return await triton.config(model, version)

    async def merged_config(self, model: str, change: Mapping[str, Any]) -> WantedConfig:
        """That of one that serves it, with some of it changed. Raises ValueError too."""
        with self._one(model, "").asked() as triton:
            return await triton.merged_config(model, change)

    async def load(
        self, model: str, config: str | None = None, *, only: str | None = None
    ) -> Mapping[str, GatewayError | None]:
        """What came of it at each endpoint, or at this one `only`; raises nothing."""
        outcomes = await self._done(lambda triton: triton.load(model, config), only)
        for endpoint, error in outcomes.items():
            if error is None:
                self._replicas.loaded(endpoint, model)
        return outcomes

    async def unload(self, model: str, *, only: str | None = None) -> Mapping[str, GatewayError | None]:
        """What came of it at each endpoint, or at this one `only`; raises nothing."""
        return await self._done(lambda triton: triton.unload(model), only)

    async def open_interfaces(self) -> list[str]:
        """Those that any of them has open."""
        answers = await self._asked(TritonClient.open_interfaces)
        return sorted(
            {name for each in answers.values() if not isinstance(each, GatewayError) for name in each}
        )

    async def infer(self, call: InferCall) -> dict[str, Array]:
        """The call, to everyone that serves the version. Raises the first failure."""
        replicas = self._replicas.serving((call.target.model, call.target.version))
        answers = await asyncio.gather(
            *(_answer(lambda triton: triton.infer(call), each) for each in replicas)
        )
        for answer in answers:
            if isinstance(answer, GatewayError):
                raise answer
            outputs = answer
        return outputs

    def _one(self, model: str, version: str) -> Replica:
        """Raises ConnectionFailed where there is none at all."""
        found = self._replicas.having(model, version)
        if not found:
            raise ConnectionFailed("The inference server cannot be reached.", retry_after=1)
        return found[0]

    async def _done(
        self, act: Callable[[TritonClient], Awaitable[None]], only: str | None
    ) -> Mapping[str, GatewayError | None]:
        """One that did not answer its last reading is not asked where others are: it would hold up the order."""
        answering = [each for each in self._replicas.members if each.failure is None]

        async def one(replica: Replica) -> GatewayError | None:
            if only is None and answering and replica not in answering:
                return replica.failure
            return await _answer(act, replica)

        chosen = [each for each in self._replicas.members if only in (None, each.endpoint)]
        results = await asyncio.gather(*map(one, chosen))
        return {each.endpoint: result for each, result in zip(chosen, results, strict=True)}

    async def _asked(
        self, ask: Callable[[TritonClient], Awaitable[_T]], asked: Sequence[Replica] | None = None
    ) -> Mapping[str, _T | GatewayError]:
        """The answers by endpoint. Raises the first failure where there is nothing else."""
        chosen = self._replicas.members if asked is None else asked
        results = await asyncio.gather(*(_answer(ask, each) for each in chosen))
        failures = [result for result in results if isinstance(result, GatewayError)]
        if len(failures) == len(results):
            raise (
                failures[0] if failures else ConnectionFailed("No inference server is known.", retry_after=1)
            )
        return {each.endpoint: result for each, result in zip(chosen, results, strict=True)}


async def _answer(ask: Callable[[TritonClient], Awaitable[_T]], replica: Replica) -> _T | GatewayError:
    try:
        with replica.asked() as triton:
            return await ask(triton)
    except GatewayError as error:
        return error


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Two entries of statistics as one."""
    return {name: _both(name, value, other[name]) if name in other else value for name, value in one.items()}


def _both(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return {**other, **_sum(one, other)}
    if isinstance(one, list):
        return _by_batch(one, other) if name == "batch_stats" else [*one, *other]
    if isinstance(one, int):
        return max(one, other) if name in _LATEST else one + other
    return one


def _by_batch(
    one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for entry in (*one, *other):
        size = entry["batch_size"]
        found[size] = {**_sum(found[size], entry), "batch_size": size} if size in found else entry
    return [found[size] for size in sorted(found)]
