"""Models are listed, loaded and unloaded here, and what a route or a default needs is not taken away by mistake."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.canary import Route
from gateway.canary.table import Live
from gateway.catalog import Card, Catalog
from gateway.catalog.policy import kept
from gateway.control.needs import needed_versions, reasons_to_keep
from gateway.domain import RepositoryEntry, WantedConfig
from gateway.errors import (
    ControlDisabled,
    GatewayError,
    ModelInUse,
    ModelNotFound,
    ModelNotLoaded,
    UpstreamContractViolation,
    UpstreamFailed,
    ValidationFailed,
)

READY = "READY"

_DISABLED = "explicit model load / unload is not allowed"


class Repository(Protocol):
    """Triton's side; each raises UpstreamError."""

    async def repository(self) -> list[RepositoryEntry]: ...

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]: ...

    async def load(self, model: str, config: str | None = None) -> None: ...

    async def unload(self, model: str) -> None: ...

    async def merged_config(self, model: str, change: Mapping[str, Any]) -> WantedConfig: ...


@dataclass(frozen=True, slots=True)
class VersionState:
    """`statistics` are Triton's own since the version was loaded; None where it is not ready."""

    version: str
    state: str
    reason: str
    statistics: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model of the repository. `card` is None where it cannot be called; `route` where it has none of its own.

    `reason` is why it cannot be called although Triton serves it; `ensembles` are those of which it is a step.
    """

    name: str
    versions: tuple[VersionState, ...]
    card: Card | None
    route: Route | None
    ensembles: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class ModelControl:
    """Every method raises GatewayError."""

    triton: Repository
    catalog: Catalog
    routes: Callable[[], Mapping[str, Live[Route]]]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # two loads of one model at once confuse Triton

    async def models(self) -> list[ModelState]:
        """All models of the repository, by name."""
        entries, statistics = await asyncio.gather(self.triton.repository(), self.triton.statistics("", ""))
        names = sorted({entry.model for entry in entries})
        known = {(entry["name"], entry["version"]): entry for entry in statistics}
        return [self._state(name, [e for e in entries if e.model == name], known) for name in names]

    async def model(self, name: str) -> ModelState:
        """Raises ModelNotFound."""
        for state in await self.models():
            if state.name == name:
                return state
        raise ModelNotFound("The repository has no model of this name.")

    async def load(
        self, name: str, change: Mapping[str, Any] | None = None, *, force: bool = False
    ) -> ModelState:
        """Loads it; loaded already, again where its files changed, or with `change` merged into its configuration.

        Raises ModelNotFound, ModelInUse for a change that takes a version away which is needed (unless `force`),
        ModelNotLoaded, ControlDisabled.
        """
        async with self._turn:
            state = await self.model(name)
            config = None if change is None else await self._config(state, change, force=force)
            await self._ask(self.triton.load(name, config))
            return await self._seen(name)

    async def unload(self, name: str, *, force: bool = False) -> ModelState:
        """Raises ModelNotFound, ModelInUse for what a route or a default needs (unless `force`), ControlDisabled."""
        async with self._turn:
            state = await self.model(name)
            if not force and (reasons := reasons_to_keep(state.card, state.route, state.ensembles)):
                raise ModelInUse("The model is needed.", reasons)
            await self._ask(self.triton.unload(name))
            return await self._seen(name)

    async def heal(self, name: str) -> ModelState:
        """Unloads and loads it at once: what starts a process again that died. Its callers get 503 in between.

        Raises ModelNotFound, ModelNotLoaded, ControlDisabled.
        """
        async with self._turn:
            await self.model(name)
            await self._ask(self.triton.unload(name))
            await self._ask(self.triton.load(name))
            return await self._seen(name)

    async def _config(self, state: ModelState, change: Mapping[str, Any], *, force: bool) -> str:
        if change.get("name", state.name) != state.name:
            raise ValidationFailed.of("/config/name", "The name of a model is that of its folder.")
        if not any(version.state == READY for version in state.versions):
            raise ModelNotLoaded(
                "Its configuration can be changed only while it is loaded: load it as it is first."
            )
        try:
            config = await self.triton.merged_config(state.name, change)
        except ValueError as error:
            raise ValidationFailed.of("/config", f"This is no configuration of a model: {error}.") from None
        every = [version.version for version in state.versions]
        lost = needed_versions(state.card, state.route) - kept(config.version_policy, every)
        if lost and not force:
            reasons = [f"Version {version} would be unloaded, and is needed." for version in sorted(lost)]
            raise ModelInUse("The change takes away what is needed.", reasons)
        return config.text

    async def _ask(self, call: Any) -> None:
        """Awaits a load or an unload, and says in our words what Triton refuses."""
        try:
            await call
        except GatewayError as error:
            if _DISABLED in error.internal:
                raise ControlDisabled("This Triton loads and unloads no model when asked.") from None
            if isinstance(error, UpstreamFailed | UpstreamContractViolation):
                raise ModelNotLoaded(
                    "Triton could not load the model; what served before goes on.", internal=error.internal
                ) from None
            raise

    async def _seen(self, name: str) -> ModelState:
        """The model as it is now, which this worker's catalog knows too."""
        await self.catalog.refresh()
        return await self.model(name)

    def _state(
        self,
        name: str,
        entries: Sequence[RepositoryEntry],
        known: Mapping[tuple[str, str], Mapping[str, Any]],
    ) -> ModelState:
        versions = [
            VersionState(
                e.version, e.state, e.reason, known.get((name, e.version)) if e.state == READY else None
            )
            for e in sorted(entries, key=lambda entry: int(entry.version or 0))
            if e.version
        ]
        live = self.routes().get(name)
        card, reason = self.catalog.known(name)
        ensembles = tuple(self.catalog.ensembles_with(name))
        return ModelState(name, tuple(versions), card, live.route if live else None, ensembles, reason)
