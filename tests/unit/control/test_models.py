"""Models are loaded and healed, one order a model at a time; how they stand is told as Triton and breakers have it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from support.cards import classifier
from support.virtual_time import VirtualLoop

from gateway.catalog import Catalog, Inventory
from gateway.control import ModelControl
from gateway.domain import RepositoryEntry, ServedModel, WantedConfig
from gateway.errors import (
    ConnectionFailed,
    DeadlineExceeded,
    GatewayError,
    ModelNotFound,
    ModelNotLoaded,
    UpstreamContractViolation,
    UpstreamFailed,
)
from gateway.upstream.breaker import State

HERE = "127.0.0.1:8001"


@dataclass
class Triton:
    """Unloads, and then says what the test wants it to say. `states` are those of the models at each look, READY after
    the last. What is not `listed` is so once it was loaded; a load of `slow` does not end before the test says so.
    """

    said: GatewayError | None
    done: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    endpoints: Sequence[str] = (HERE,)
    served: tuple[ServedModel, ...] = ()
    listed: list[str] = field(default_factory=lambda: ["pets", "sizes", "cuts"])
    refusal: GatewayError | None = None
    slow: str = ""
    began: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def inventory(self) -> Inventory:
        return Inventory(self.served, {})

    async def repository(self) -> list[RepositoryEntry]:
        state = self.states.pop(0) if self.states else "READY"
        self.done += [state] if state != "READY" else []
        return [RepositoryEntry(model, "1", state, "", HERE) for model in self.listed]

    async def statistics(self, model: str, version: str) -> Sequence[Mapping[str, Any]]:
        return []

    async def unload(self, model: str, *, only: str | None = None) -> Mapping[str, GatewayError | None]:
        self.done.append("unload" if model == "pets" else f"unload {model}")
        return {HERE: self.said}

    async def load(
        self, model: str, config: str | None = None, *, only: str | None = None
    ) -> Mapping[str, GatewayError | None]:
        self.done.append("load" if model == "pets" else f"load {model}")
        if model == self.slow:
            self.began.set()
            await self.may_end.wait()
        if self.refusal is None and model not in self.listed:
            self.listed.append(model)
        return {HERE: self.refusal}

    async def merged_config(self, model: str, change: Mapping[str, Any]) -> WantedConfig:
        raise AssertionError("healing changes no configuration")


def control(triton: Triton, breaker: State = State.CLOSED) -> ModelControl:
    return ModelControl(triton, Catalog(triton, interval=1, clock=lambda: 0.0), dict, lambda *_: breaker)


@pytest.mark.parametrize(
    "said",
    [None, DeadlineExceeded("too late"), ConnectionFailed("broken off")],
    ids=["it answers", "it does not answer in time", "its connection breaks"],
)
async def test_a_model_that_may_be_unloaded_is_loaded_again(said: GatewayError | None) -> None:
    triton = Triton(said)
    await control(triton).heal("pets")
    assert triton.done == ["unload", "load"]


async def test_to_heal_an_ensemble_heals_its_steps_and_theirs() -> None:
    inner = replace(classifier(name="sizes"), steps=("cuts", "cuts"))
    triton = Triton(None, served=(inner, replace(classifier(name="pets"), steps=("sizes", "cuts"))))
    models = control(triton)
    await models.catalog.refresh()
    assert (await models.heal("pets")).name == "pets"
    assert triton.done == ["unload cuts", "load cuts", "unload sizes", "load sizes", "unload", "load"]


async def test_what_triton_refused_to_unload_is_left_as_it_is() -> None:
    triton = Triton(UpstreamContractViolation("refused", internal="no such model"))
    with pytest.raises(ModelNotLoaded):
        await control(triton).heal("pets")
    assert triton.done == ["unload"]


@pytest.mark.parametrize("action", ["load", "heal"])
def test_what_another_worker_has_begun_ends_first_and_is_no_failure(action: str) -> None:
    """In virtual time."""
    triton = Triton(None, states=["READY", "LOADING", "UNLOADING"])

    async def twice() -> None:
        models = control(triton)
        await getattr(models, action)("pets")
        triton.states = ["LOADING"]
        await getattr(models, action)("pets")

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(twice())
    order = ["unload", "load"] if action == "heal" else ["load"]
    assert triton.done == [*order, "LOADING", "UNLOADING", "LOADING", *order]


@pytest.mark.parametrize("breaker", State)
async def test_a_version_whose_calls_fail_is_told_of_though_triton_calls_it_ready(breaker: State) -> None:
    (version,) = (await control(Triton(None), breaker).model("pets")).versions
    assert version.state == "READY"
    assert ("heal" in version.reason) == version.failing == (breaker is not State.CLOSED)


NOT_FOUND = UpstreamFailed(
    "failed", internal="INTERNAL: failed to load 'x', failed to poll from model repository"
)
NO_VERSION = UpstreamContractViolation(
    "refused", internal="INVALID_ARGUMENT: at least one version must be available"
)


async def test_what_triton_does_not_list_it_is_asked_to_load() -> None:
    """It lists no model any more that it could not load for want of a version; that may have one by now."""
    models = control(Triton(None, listed=[]))
    assert (await models.load("pets")).serves


@pytest.mark.parametrize(
    ("listed", "refusal", "error"),
    [
        pytest.param([], NOT_FOUND, ModelNotFound, id="no such folder"),
        pytest.param([], NO_VERSION, ModelNotLoaded, id="a folder without a version"),
        pytest.param(["pets"], NOT_FOUND, ModelNotLoaded, id="a configuration that cannot be read"),
    ],
)
async def test_a_model_is_unknown_only_where_triton_finds_none(
    listed: list[str], refusal: GatewayError, error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        await control(Triton(None, listed=listed, refusal=refusal)).load("pets")


@pytest.mark.parametrize("name", ["..", "../pets", "a/b", ""])
async def test_what_is_no_name_of_a_model_reaches_no_path(name: str) -> None:
    triton = Triton(None)
    with pytest.raises(ModelNotFound):
        await control(triton).load(name)
    assert triton.done == []


async def test_a_load_that_takes_long_keeps_no_other_model_waiting() -> None:
    triton = Triton(None, listed=["cars", "pets"], slow="cars")
    models = control(triton)
    async with asyncio.TaskGroup() as tasks:
        slow, again = (tasks.create_task(models.load("cars")) for _ in range(2))
        await triton.began.wait()
        await models.unload("pets")
        await models.load("pets")
        assert triton.done == ["load cars", "unload", "load"], (
            "the second load of the slow one waits for the first"
        )
        assert not slow.done()
        triton.may_end.set()
    assert again.result().serves
    assert triton.done == ["load cars", "unload", "load", "load cars"]
