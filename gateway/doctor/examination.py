"""Asks Triton and the stores, and has every part of the doctor look at what they say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio import Redis

from gateway.canary import Route
from gateway.canary.route import BrokenRoute, from_document
from gateway.canary.store import RouteStore
from gateway.catalog import Card, Catalog, Task
from gateway.doctor import server
from gateway.doctor.finding import Finding, Report, error, warning
from gateway.doctor.keeping import redis_report
from gateway.doctor.probe import Infers, can_probe, probe
from gateway.doctor.queues import queue_findings
from gateway.doctor.versions import route_findings, version_findings
from gateway.domain import RepositoryEntry
from gateway.errors import GatewayError
from gateway.store import StoreAway


class Triton(Infers, Protocol):
    """What is asked of the client; each method raises UpstreamError."""

    @property
    def release(self) -> Sequence[int]: ...

    @property
    def endpoints(self) -> Sequence[str]: ...

    def away(self) -> Mapping[str, str]: ...

    async def repository(self) -> list[RepositoryEntry]: ...

    async def config(self, model: str, version: str) -> Mapping[str, Any]: ...

    async def open_interfaces(self) -> list[str]: ...


@dataclass(frozen=True)
class Examination:
    """`stranger` is a client of the same Redis without credentials,
    `operator` one whose user may ask how Redis is set up.
    """

    triton: Triton
    catalog: Catalog
    redis: Redis
    operator: Redis
    stranger: Redis
    clock: Callable[[], float]
    addresses: Callable[[], list[str]] = server.own_addresses

    async def run(self, *, probes: bool) -> Report:
        """`probes`: whether each version is called once, with zeros."""
        redis = await redis_report(self.operator, self.stranger)
        findings = list(redis.findings)
        try:
            await self.catalog.refresh()
            findings += self._replicas()
            findings += await self._server()
            findings += await self._models(probes=probes)
            ready = await self._ready()
        except GatewayError as failure:
            findings.append(_away(", ".join(self.triton.endpoints), failure.internal or str(failure)))
            return Report(findings, [*redis.unchecked, "The models: Triton does not answer."])
        if not any(finding.code == "redis-away" for finding in findings):
            findings += await self._routes(ready)
        return Report(findings, redis.unchecked)

    def _replicas(self) -> list[Finding]:
        """Of several: who is away, and who is not as the others."""
        away = [_away(endpoint, reason) for endpoint, reason in self.triton.away().items()]
        return [*away, *(_differing(name, who) for name, who in self.catalog.differing().items())]

    async def _server(self) -> list[Finding]:
        places = [endpoint.rpartition(":") for endpoint in self.triton.endpoints]
        ports = sorted({int(port) for host, _, port in places if server.is_loopback(host)})
        reached = [each for port in ports for each in await server.reachable_at(self.addresses(), port)]
        private = all(server.is_loopback(host) for host, _, _ in places) and not reached
        interfaces = await self.triton.open_interfaces()
        return [
            *server.release_findings(self.triton.release, private=private),
            *server.access_findings(reached, interfaces, private=private),
        ]

    async def _models(self, *, probes: bool) -> list[Finding]:
        findings: list[Finding] = []
        cards: list[Card] = []
        entries = await self.triton.repository()
        for name in sorted({entry.model for entry in entries}):
            card, reason = self.catalog.known(name)
            if card is not None:
                cards.append(card)
            elif reason:
                findings.append(_uncallable(name, reason))
        defaults = {task: self.catalog.defaults(task) for task in Task}
        findings += [_two_defaults(task, names) for task, names in defaults.items() if len(names) > 1]
        steps = {step for card in cards for step in card.served.steps}
        for card in cards:
            name, is_step = card.name, card.name in steps
            config = await self.triton.config(name, card.served.versions[-1])
            findings += queue_findings(name, config, self.triton.release)
            loaded = set(card.served.versions)
            unloaded = {each.version for each in entries if each.model == name and each.is_unloaded} - loaded
            findings += version_findings(card, config, is_step=is_step, unloaded=unloaded)
            if probes and not is_step and can_probe(card.served):
                for version in card.served.versions:
                    findings += await probe(self.triton, card, version, self.clock)
        return findings

    async def _ready(self) -> Mapping[str, Sequence[str]]:
        """Versions by model as Triton has them, of models too that cannot be called: those have a finding already."""
        found: dict[str, set[str]] = {}
        for entry in await self.triton.repository():
            if entry.state == "READY":
                found.setdefault(entry.model, set()).add(entry.version)
        return {model: sorted(versions, key=int) for model, versions in found.items()}

    async def _routes(self, ready: Mapping[str, Sequence[str]]) -> list[Finding]:
        try:
            stored = (await RouteStore(self.redis).read()).routes
        except StoreAway as failure:
            return [
                error(
                    "redis", "routes-unreadable", f"routes cannot be read: {failure}", "Look at Redis's log."
                )
            ]
        findings: list[Finding] = []
        for model, entry in sorted(stored.items()):
            if entry.document is not None:
                findings += self._route(model, entry.document, entry.generation, ready.get(model, ()))
        return findings

    def _route(self, model: str, document: str, generation: int, ready: Sequence[str]) -> list[Finding]:
        try:
            route: Route = from_document(document)
        except BrokenRoute as failure:
            return [
                error(
                    f"route {model}",
                    "route-unreadable",
                    f"this release cannot read it: {failure}",
                    f"Finish the deployment of the newer release, or set the route again: gateway canary set {model} …",
                )
            ]
        return list(route_findings(model, route, ready, generation=generation))


def _away(endpoint: str, reason: str) -> Finding:
    return error(
        "triton",
        "triton-away",
        f"it does not answer on {endpoint or 'any address'}: {reason}",
        "Start it; is GATEWAY_TRITON_URL right?",
    )


def _differing(model: str, who: str) -> Finding:
    return error(
        f"model {model}",
        "configurations-differ",
        f"not every Triton has it with the same configuration ({who}): those that differ are not asked for it.",
        f"Give them the same repository, then: gateway models load {model}",
    )


def _two_defaults(task: Task, models: Sequence[str]) -> Finding:
    return warning(
        "models",
        "two-defaults",
        f"{' and '.join(models)} all say that they are the default for {task}: who names no model gets the one that "
        "said so first, and after a restart of the gateway the first by name.",
        "Leave the parameter gateway.default with one of them.",
    )


def _uncallable(name: str, reason: str) -> Finding:
    return error(
        f"model {name}",
        "not-callable",
        f"it cannot be called: {reason}",
        f"Mend what it says, then: gateway models load {name}",
    )
