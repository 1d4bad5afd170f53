"""The live catalog: Triton is the registry, and this is the gateway's copy of it, a second old at most."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from gateway.catalog.card import Card, ModelCard, TensorCard, card_of
from gateway.catalog.parameters import CardError, Task
from gateway.domain import ServedModel
from gateway.errors import (
    FieldError,
    GatewayError,
    ModelNotFound,
    ModelUnavailable,
    UpstreamFailed,
    ValidationFailed,
)

_log = structlog.stdlib.get_logger("gateway.catalog")

_ON_THE_WAY = ("LOADING", "UNLOADING")  # nothing is wrong with such a model


@dataclass(frozen=True, slots=True)
class Inventory:
    """What Triton has: the models that serve, and by name the reason of those that should and do not.

    `differing` says of models which of several Tritons have them with another configuration.
    """

    served: tuple[ServedModel, ...]
    unavailable: Mapping[str, str]
    differing: Mapping[str, str] = field(default_factory=dict)


class Registry(Protocol):
    """Where the catalog reads from."""

    async def inventory(self) -> Inventory:
        """Raises UpstreamError where Triton cannot be asked."""
        ...


Prepare = Callable[[ModelCard], Awaitable[None]]
"""Makes ready what a model needs of the gateway itself. Raises CardError where it cannot; called at every refresh."""


@dataclass(frozen=True, slots=True)
class CatalogStatus:
    """`fresh` says whether Triton has told its models within the last few refreshes, `answering` whether it has
    answered at all, if only that it cannot: then what is known is served on. `generation` counts the changes so far.
    """

    fresh: bool
    answering: bool
    models: int
    detail: str
    generation: int


@dataclass(frozen=True, slots=True)
class _Snapshot:
    cards: Mapping[str, ModelCard] = field(default_factory=dict)
    tensor_cards: Mapping[str, TensorCard] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    differing: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[Task, tuple[str, ...]] = field(default_factory=dict)  # who answers first, first

    @property
    def callable(self) -> Mapping[str, Card]:
        return {**self.cards, **self.tensor_cards}


class Catalog:
    """Answers from memory; `watch` keeps the memory true.

    When Triton cannot be asked the last snapshot stays: a draining or restarting Triton must not turn a
    known model into "not found".
    """

    def __init__(
        self,
        registry: Registry,
        *,
        interval: float,
        clock: Callable[[], float],
        prepare: Prepare | None = None,
    ) -> None:
        self._registry = registry
        self._prepare = prepare or _nothing
        self._interval = interval
        self._clock = clock
        self._snapshot = _Snapshot()
        self._generation = 0
        self._refreshed_at: float | None = None
        self._answered_at: float | None = None
        self._failure = "not read yet"
        self._changing: Counter[str] = Counter()  # models that this worker has told Triton to load
        self._reading = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Refreshes for ever, every `interval` seconds; run as a task and cancel it to stop."""
        while True:
            try:
                await self.refresh()
            except GatewayError as error:
                self._answered_at = self._clock() if isinstance(error, UpstreamFailed) else None
                self._note_failure(error.internal or str(error))
            await asyncio.sleep(self._interval)

    async def refresh(self) -> None:
        """Reads Triton once. Raises UpstreamError where it cannot be asked."""
        async with self._reading:
            self._next = None
            await self._refresh()

    async def _refresh(self) -> None:
        inventory = await self._registry.inventory()
        snapshot = await self._read(inventory)
        if snapshot != self._snapshot:
            _report(self._snapshot, snapshot)
            self._generation += 1
        self._snapshot = snapshot
        self._refreshed_at = self._answered_at = self._clock()
        self._failure = ""

    async def _read(self, inventory: Inventory) -> _Snapshot:
        cards: dict[str, ModelCard] = {}
        tensor_cards: dict[str, TensorCard] = {}
        broken = dict(inventory.unavailable)
        for served in inventory.served:
            try:
                card = self._card(served)
                if isinstance(card, ModelCard):
                    await self._prepare(card)
                    cards[served.name] = card
                else:
                    tensor_cards[served.name] = card
            except CardError as error:
                broken[served.name] = str(error)
        defaults = {task: self._defaults(task, cards, broken) for task in Task}
        return _Snapshot(cards, tensor_cards, broken, inventory.differing, defaults)

    def _card(self, served: ServedModel) -> ModelCard | TensorCard:
        """The one that is known, where nothing of the model has changed. Raises CardError."""
        known = self._snapshot.cards.get(served.name) or self._snapshot.tensor_cards.get(served.name)
        return known if known is not None and known.served == served else card_of(served)

    def _defaults(
        self, task: Task, cards: Mapping[str, ModelCard], broken: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Who was the default stays it when another comes, and while it is loaded again."""
        saying = sorted(name for name, card in cards.items() if card.task is task and card.parameters.default)
        before = self._snapshot.defaults.get(task, ())
        kept = [name for name in before if name in saying or name in broken]
        return (*kept, *(name for name in saying if name not in kept))

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """The block tells Triton to load this model, and refreshes; `confirm` looks closely meanwhile."""
        self._changing[name] += 1
        try:
            yield
        finally:
            self._changing[name] -= 1

    async def confirm(self, card: ModelCard) -> None:
        """For an answer that was made by this card and has come just now.

        Raises ModelUnavailable where the model was loaded anew meanwhile and the answer may mean something else.
        """
        if self._changing[card.name]:
            self._next = self._next or asyncio.create_task(self.refresh())  # which begins after the answer
            await asyncio.shield(self._next)
        now = self._snapshot.cards.get(card.name)
        if now is not None and now is not card and not now.reads_as(card):
            raise ModelUnavailable("The model was loaded anew meanwhile.", retry_after=1)

    def status(self) -> CatalogStatus:
        """For readiness: is the snapshot recent, and does it hold a model that can be called?"""
        return CatalogStatus(
            fresh=self._is_recent(self._refreshed_at) and not self._failure,
            answering=self._is_recent(self._answered_at),
            models=len(self._snapshot.callable),
            detail=self._failure,
            generation=self._generation,
        )

    def _is_recent(self, at: float | None) -> bool:
        return at is not None and self._clock() - at < 3 * self._interval + 1

    def cards(self) -> list[ModelCard]:
        """Every model that /v1 can call, by name."""
        return [card for _, card in sorted(self._snapshot.cards.items())]

    def callable_cards(self) -> list[Card]:
        """Every model that can be called, with or without a task, by name."""
        return [card for _, card in sorted(self._snapshot.callable.items())]

    def named(self, name: str) -> Card:
        """The model of this name, with or without a task.

        Raises ModelNotFound, or ModelUnavailable where it cannot serve.
        """
        card = self._snapshot.cards.get(name) or self._snapshot.tensor_cards.get(name)
        if card is None:
            raise self._absent(name)
        return card

    def known(self, name: str) -> tuple[Card | None, str]:
        """The model's card, or else why there is none; for those who run models, and with Triton's own words."""
        card = self._snapshot.callable.get(name)
        return card, "" if card else self._snapshot.broken.get(name, "")

    def defaults(self, task: Task, allowed: Callable[[str], bool] = lambda _: True) -> list[str]:
        """The models that say that they are the default for this task; the first is."""
        cards = self._snapshot.cards
        return [name for name in self._snapshot.defaults.get(task, ()) if name in cards and allowed(name)]

    def differing(self) -> Mapping[str, str]:
        """Models that not all Tritons have with the same configuration, and who differs."""
        return self._snapshot.differing

    def ensembles_with(self, name: str) -> list[str]:
        """The ensembles of which this model is a step."""
        return sorted(card.name for card in self._snapshot.callable.values() if name in card.served.steps)

    def with_steps(self, name: str) -> list[str]:
        """The models that an ensemble is made of, each before what it is a step of, and itself; another one alone."""
        card = self._snapshot.callable.get(name)
        steps = () if card is None else card.served.steps
        return [*dict.fromkeys(part for step in steps for part in self.with_steps(step)), name]

    def callable(self, name: str, allowed: Callable[[str], bool]) -> Card:
        """The model of this name, with or without a task; raises what `find` does for a name."""
        if not allowed(name):
            raise self._unknown()
        return self.named(name)

    def find(self, task: Task, name: str | None, allowed: Callable[[str], bool]) -> ModelCard:
        """The model for this task: the one named, or the default one, of those that are `allowed`.

        Raises ModelNotFound, the same for a model that is not allowed as for one that does not exist, and where none
        of the task's is allowed; ModelUnavailable where Triton knows the model but cannot serve it; and
        ValidationFailed where the model does something else or there is no default.
        """
        if name is None:
            return self._default(task, allowed)
        if not allowed(name):
            raise self._unknown()
        card = self.named(name)
        if not isinstance(card, ModelCard):
            raise ValidationFailed.of("/model", "This model has no gateway.task: it is called on /v2.")
        if card.task is not task:
            raise ValidationFailed.of("/model", f"This model does {card.task}, not {task}.")
        return card

    def _absent(self, name: str) -> GatewayError:
        reason = self._snapshot.broken.get(name)
        if reason is not None:
            return ModelUnavailable(
                "This model cannot be served at the moment.", retry_after=2, internal=reason
            )
        if self._refreshed_at is None:
            return ModelUnavailable("The models are still being read.", retry_after=1, internal=self._failure)
        return self._unknown()

    @staticmethod
    def _unknown() -> ModelNotFound:
        return ModelNotFound("There is no model of this name that you may use.")

    def _default(self, task: Task, allowed: Callable[[str], bool]) -> ModelCard:
        if defaults := self.defaults(task, allowed):
            return self._snapshot.cards[defaults[0]]
        cards = [card for card in self.cards() if card.task is task and allowed(card.name)]
        if len(cards) == 1:
            return cards[0]
        if cards:
            names = ", ".join(card.name for card in cards)
            raise ValidationFailed("Name a model.", [FieldError("/model", f"One of: {names}.")])
        if self._is_for_others(task, allowed):
            raise ModelNotFound(f"There is no model for {task} that you may use.")
        raise ModelUnavailable(
            f"No model for {task} is loaded at the moment.", retry_after=2, internal=self._failure
        )

    def _is_for_others(self, task: Task, allowed: Callable[[str], bool]) -> bool:
        """Whether models do this, and none of those that are broken, which may do it too, is the caller's."""
        known = any(card.task is task for card in self.cards())
        return known and not any(allowed(name) for name in self._snapshot.broken)

    def _note_failure(self, reason: str) -> None:
        if not self._failure or (self._refreshed_at is None and self._failure != reason):
            _log.warning("catalog_stale", reason=reason)
        self._failure = reason


async def _nothing(_: ModelCard) -> None:
    """Most models need nothing."""


def _report(before: _Snapshot, after: _Snapshot) -> None:
    for name, card in after.callable.items():
        if before.callable.get(name) != card:
            task = str(card.task) if isinstance(card, ModelCard) else None
            _log.info("model_available", model=name, task=task, versions=card.served.versions)
    for name in before.callable.keys() - after.callable.keys():
        _log.info("model_gone", model=name)
    for name, reason in after.broken.items():
        if before.broken.get(name) != reason:
            log = _log.info if reason in _ON_THE_WAY else _log.warning
            log("model_unavailable", model=name, reason=reason)
    for name, who in after.differing.items():
        if before.differing.get(name) != who:
            _log.warning("model_configurations_differ", model=name, endpoints=who)
