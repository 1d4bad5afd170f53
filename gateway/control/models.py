"""Models are listed, loaded and unloaded here, and what a route or a default needs is not taken away by mistake."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

from gateway.canary import Route
from gateway.canary.table import Live
from gateway.catalog import Card, CardError, Catalog, ModelCard, card_of
from gateway.catalog.policy import kept
from gateway.control.changes import refused
from gateway.control.needs import reasons_against, reasons_to_keep, shortcomings, stable_version
from gateway.domain import RepositoryEntry, WantedConfig
from gateway.errors import (
    ControlDisabled,
    DeadlineExceeded,
    GatewayError,
    ModelInUse,
    ModelNotFound,
    ModelNotLoaded,
    UpstreamContractViolation,
    UpstreamFailed,
    UpstreamUnavailable,
    ValidationFailed,
)
from gateway.schemas import is_model_name
from gateway.upstream.breaker import State

READY = "READY"
_ON_THE_WAY = ("LOADING", "UNLOADING")
_LOOK, _LOOKS = 0.1, 300  # seconds between two looks at what is under way by another's order, and how many

_FAILING = "its calls have failed, and none was answered since; heal starts a process that died"
_FOLDER_GONE = "Triton serves it on, and its folder is gone: callers get 404"
_DISABLED = "explicit model load / unload is not allowed"
_UNREAD = (
    "Its config.pbtxt is missing, cannot be read, or names another model than its folder: "
    "Triton's log says which."
)
_NOT_FOUND = "failed to poll from model repository"  # or found, and its configuration is none


Outcomes = Mapping[str, GatewayError | None]
"""Of each endpoint of Triton what went wrong there, or None."""


class Repository(Protocol):
    """Triton's side, one or several; what asks raises UpstreamError."""

    async def repository(self) -> list[RepositoryEntry]: ...

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]: ...

    @property
    def endpoints(self) -> Sequence[str]: ...

    async def load(self, model: str, config: str | None = None, *, only: str | None = None) -> Outcomes: ...

    async def unload(self, model: str, *, only: str | None = None) -> Outcomes: ...

    async def merged_config(self, model: str, change: Mapping[str, Any]) -> WantedConfig: ...


@dataclass(frozen=True, slots=True)
class VersionState:
    """`state` and `reason` are those of the Triton where it is best; `replicas` has them all. `statistics` are Triton's
    own since the version was loaded, of all of them together; None where it is not ready. It may be ready and
    `failing`: this worker's calls have failed, and none has been answered since.
    """

    version: str
    state: str
    reason: str
    statistics: Mapping[str, Any] | None = None
    replicas: tuple[RepositoryEntry, ...] = ()
    failing: bool = False

    @property
    def is_unloaded(self) -> bool:
        """Whether no Triton has it, and one had it unloaded."""
        return self.state != READY and any(each.is_unloaded for each in self.replicas)


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model of the repository. `card` is None where it cannot be called; `route` where it has none of its own.

    `reason` is why it cannot be called although Triton serves it, or what of its configuration does not hold.
    `ensembles` are those of which it is a step; `default` is the model that answers for its task where none is named.
    `listed`: Triton's index has it.
    """

    name: str
    versions: tuple[VersionState, ...]
    card: Card | None
    route: Route | None
    ensembles: tuple[str, ...]
    reason: str = ""
    default: str | None = None
    listed: bool = True

    @property
    def serves(self) -> bool:
        """Whether any version of it does."""
        return any(version.state == READY for version in self.versions)

    @property
    def is_on_the_way(self) -> bool:
        """Whether an order of somebody is under way, at any Triton."""
        return any(each.state in _ON_THE_WAY for version in self.versions for each in version.replicas)

    @property
    def answers(self) -> bool:
        """Whether it does so to callers who ask for no version."""
        if self.card is None:
            return False
        stable = stable_version(self.card, self.route)
        return any(
            each.version == stable and each.state == READY and not each.failing for each in self.versions
        )

    @property
    def needed(self) -> list[str]:
        """What stands against unloading it."""
        return reasons_to_keep(self.card, self.route, self.ensembles, self.default)


@dataclass(frozen=True)
class ModelControl:
    """Every method raises GatewayError."""

    triton: Repository
    catalog: Catalog
    routes: Callable[[], Mapping[str, Live[Route]]]
    breaker: Callable[[str, str], State]  # of a version, as this worker's calls have found it
    _turns: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def models(self) -> list[ModelState]:
        """All models of the repository, and those that Triton serves on though their folder is gone, by name."""
        listed, statistics = await asyncio.gather(self.triton.repository(), self.triton.statistics("", ""))
        known = {(entry["name"], entry["version"]): entry for entry in statistics}
        gone = known.keys() - {(entry.model, entry.version) for entry in listed}
        entries = [*listed, *(RepositoryEntry(*each, READY, _FOLDER_GONE) for each in gone)]
        names = sorted({entry.model for entry in entries})
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

        Raises ModelNotFound; ModelInUse for a change that takes away what is needed (unless `force`); ValidationFailed
        for one with which the model could not be called; ModelNotLoaded, ControlDisabled. What its files say and does
        not hold (a second default, a default version that is not there) is a ModelNotLoaded as well, unless `force`.
        """
        async with self._turn(name):
            state = await self._to_load(name)
            config = None if change is None else await self._config(state, change, force=force)
            with self.catalog.changing(name):
                outcomes = await self.triton.load(name, config)
                if not state.listed and all(map(_finds_none, outcomes.values())):
                    raise ModelNotFound("The repository has no model of this name that Triton can read.")
                _settle(outcomes, serves=state.serves)
                loaded = await self._at_rest(name)
            if loaded.reason and loaded.card is None:
                raise ModelNotLoaded("Triton has loaded the model, but it cannot be called.", [loaded.reason])
            if loaded.reason and not force:
                raise ModelNotLoaded(
                    "Triton has loaded the model, but not all that it says holds.", [loaded.reason]
                )
            return loaded

    async def unload(self, name: str, *, force: bool = False) -> ModelState:
        """Raises ModelNotFound, ModelInUse for what a route or a default needs (unless `force`), ControlDisabled."""
        async with self._turn(name):
            state = await self.model(name)
            if not force and (reasons := state.needed):
                raise ModelInUse("The model is needed.", reasons)
            _settle(await self.triton.unload(name), serves=state.serves)
            try:
                return await self._seen(name)
            except ModelNotFound:  # it was all that was left of it
                return ModelState(name, (), None, state.route, ())

    async def heal(self, name: str, *, only: str | None = None) -> ModelState:
        """Unloads and loads it at once: what starts a process again that died. Its callers get 503 in between.

        An ensemble has no process: its steps are healed before it. Raises ModelNotFound, ModelNotLoaded,
        ControlDisabled.
        """
        for each in self.catalog.with_steps(name):
            state = await self._healed(each, only)
        return state

    async def _healed(self, name: str, only: str | None) -> ModelState:
        """Of several Tritons one after the other does so, and the others answer meanwhile; or one `only`."""
        async with self._turn(name):
            await self._at_rest(name)
            outcomes: dict[str, GatewayError | None] = {}
            with self.catalog.changing(name):
                for endpoint in self.triton.endpoints if only is None else [only]:
                    unloaded = await self.triton.unload(name, only=endpoint)
                    outcomes |= unloaded
                    if not any(map(_surely_kept, unloaded.values())):
                        outcomes |= await self.triton.load(name, only=endpoint)
                _settle(outcomes, serves=False)
                return await self._at_rest(name)

    async def _config(self, state: ModelState, change: Mapping[str, Any], *, force: bool) -> str:
        if change.get("name", state.name) != state.name:
            raise ValidationFailed.of("/config/name", "The name of a model is that of its folder.")
        if wrong := refused(change):
            raise ValidationFailed(
                "A change is for how a model is scheduled, and for gateway.* parameters.", wrong
            )
        if not state.serves:
            raise ModelNotLoaded(
                "Its configuration can be changed only while it is loaded: load it as it is first."
            )
        try:
            config = await self.triton.merged_config(state.name, change)
        except ValueError as error:
            raise ValidationFailed.of("/config", f"This is no configuration of a model: {error}.") from None
        if "version_policy" not in change:
            _require_what_is_loaded(config.served.version_policy, state.versions)
        every = [version.version for version in state.versions]
        wanted = replace(
            config.served, versions=tuple(sorted(kept(config.served.version_policy, every), key=int))
        )
        try:
            card = card_of(wanted)
        except CardError as error:
            raise ValidationFailed.of(
                "/config/parameters", f"The model could not be called: {error}."
            ) from None
        if force:
            return config.text
        default = self._default(card)
        if reasons := reasons_against(state.card, state.route, card, default):
            raise ModelInUse("The change takes away what is needed.", reasons)
        if reasons := shortcomings(card, state.route, default):
            raise ValidationFailed.of("/config", " ".join(reasons))
        return config.text

    def _turn(self, name: str) -> asyncio.Lock:
        """Two loads of one model at once confuse Triton; one that takes minutes keeps no other model waiting."""
        return self._turns.setdefault(name, asyncio.Lock())

    async def _to_load(self, name: str) -> ModelState:
        """The model at rest. Triton's index leaves out what it could not load for want of a version: that may have one
        by now.
        """
        try:
            return await self._at_rest(name)
        except ModelNotFound:
            if not is_model_name(name):
                raise
            return ModelState(name, (), None, None, (), listed=False)

    async def _seen(self, name: str) -> ModelState:
        """The model as it is now, which this worker's catalog knows too."""
        await self.catalog.refresh()
        return await self.model(name)

    async def _at_rest(self, name: str) -> ModelState:
        """The model as it is when no order of another worker is under way; or as it is when that takes too long."""
        state = await self._seen(name)
        for _ in range(_LOOKS):
            if not state.is_on_the_way:
                break
            await asyncio.sleep(_LOOK)
            state = await self._seen(name)
        return state

    def _state(
        self,
        name: str,
        entries: Sequence[RepositoryEntry],
        known: Mapping[tuple[str, str], Mapping[str, Any]],
    ) -> ModelState:
        by_version: dict[str, list[RepositoryEntry]] = {}
        for entry in sorted(entries, key=lambda entry: int(entry.version or 0)):
            if entry.version:
                by_version.setdefault(entry.version, []).append(entry)
        versions = [
            _version(found, known.get((name, version)), self.breaker(name, version))
            for version, found in by_version.items()
        ]
        live = self.routes().get(name)
        route = live.route if live else None
        card, reason = self.catalog.known(name)
        default = self._default(card)
        if card is not None:
            reason = " ".join(shortcomings(card, route, default))
        ensembles = tuple(self.catalog.ensembles_with(name))
        return ModelState(name, tuple(versions), card, route, ensembles, reason, default)

    def _default(self, card: Card | None) -> str | None:
        """The model that answers for its task where none is named and one says that it does."""
        return next(iter(self.catalog.defaults(card.task)), None) if isinstance(card, ModelCard) else None


def _version(
    found: Sequence[RepositoryEntry], statistics: Mapping[str, Any] | None, breaker: State
) -> VersionState:
    """A version as each Triton has it; it is ready where one is, which alone says nothing of its process."""
    best = next((entry for entry in found if entry.state == READY), found[0])
    known = statistics if best.state == READY else None
    failing = best.state == READY and breaker is not State.CLOSED
    reason = _FAILING if failing else best.reason
    return VersionState(
        best.version, best.state, reason, known, tuple(each for each in found if each.endpoint), failing
    )


def _require_what_is_loaded(policy: str, versions: Sequence[VersionState]) -> None:
    """Raises ValidationFailed where a policy that nobody asked for would bring versions back, or take some away.

    Triton loads no version anew for another policy alone, and reports the one with which they were loaded.
    """
    keeps = kept(policy, [each.version for each in versions])
    loaded = [each.version for each in versions if each.state == READY]
    back = [each.version for each in versions if each.is_unloaded and each.version in keeps]
    if others := back + [version for version in loaded if version not in keeps]:
        raise ValidationFailed.of(
            "/config/version_policy",
            f'Triton reports "{policy}" and has {", ".join(loaded)} loaded: this could change version '
            f"{', '.join(others)} too. Say which are meant, such as "
            f'{{"specific": {{"versions": [{", ".join(loaded)}]}}}}.',
        )


def _surely_kept(error: GatewayError | None) -> bool:
    """Whether an unload with this outcome has unloaded nothing; one without an answer may have."""
    return error is not None and not isinstance(error, DeadlineExceeded | UpstreamUnavailable)


def _finds_none(error: GatewayError | None) -> bool:
    """Whether a load with this outcome found no such model."""
    return error is not None and _NOT_FOUND in error.internal


def _settle(outcomes: Outcomes, *, serves: bool) -> None:
    """Raises what came of a load or an unload where it failed anywhere; Triton's own words are for operators, who read
    this. `serves`: the model did before.
    """
    failures = [error for error in outcomes.values() if error is not None]
    if not failures:
        return
    if any(_DISABLED in error.internal for error in failures):
        raise ControlDisabled("This Triton loads and unloads no model when asked.")
    after = "What served before goes on." if serves else "Nothing of it serves."
    if len(outcomes) > 1:
        each = [f"{endpoint}: {_said(error)}" for endpoint, error in outcomes.items()]
        if len(failures) < len(outcomes):
            raise ModelNotLoaded("Not every Triton has done it.", each)
        raise ModelNotLoaded("No Triton has done it.", [*each, after])
    if isinstance(failures[0], UpstreamFailed | UpstreamContractViolation):
        raise ModelNotLoaded("Triton could not load the model.", [_reason(failures[0].internal), after])
    raise failures[0]


def _said(error: GatewayError | None) -> str:
    return "done." if error is None else _reason(error.internal or str(error))


def _reason(said: str) -> str:
    """What Triton said of a model, in one line. What is wrong with a configuration it tells only its own log."""
    line = (said.splitlines() or ["it gave no reason"])[0]
    return f"{line}. {_UNREAD}" if _NOT_FOUND in line else line
