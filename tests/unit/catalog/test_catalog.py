"""The live catalog: what it finds, and what it remembers while Triton is away."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest

from gateway.catalog import Catalog, Inventory, Task
from gateway.domain import ServedModel, TensorSpec
from gateway.errors import (
    GatewayError,
    ModelNotFound,
    ModelUnavailable,
    UpstreamUnavailable,
    ValidationFailed,
)

PETS = ServedModel(
    name="pets",
    versions=("1", "2"),
    max_batch_size=4,
    inputs=(TensorSpec("images", "UINT8", (3, 8, 8)),),
    outputs=(TensorSpec("scores", "FP32", (2,)),),
    parameters={
        "gateway.task": "image-classification",
        "gateway.labels": "cat\ndog",
        "gateway.resize": "stretch",
    },
)


def anything(_: str) -> bool:
    """Every model is allowed."""
    return True


def named(name: str, **parameters: str) -> ServedModel:
    return replace(PETS, name=name, parameters={**PETS.parameters, **parameters})


@dataclass
class Registry:
    served: list[ServedModel] = field(default_factory=lambda: [PETS])
    unavailable: dict[str, str] = field(default_factory=dict)
    failure: GatewayError | None = None

    async def inventory(self) -> Inventory:
        if self.failure:
            raise self.failure
        return Inventory(tuple(self.served), dict(self.unavailable))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def catalog_of(registry: Registry, clock: Clock | None = None) -> Catalog:
    return Catalog(registry, interval=1.0, clock=clock or Clock())


async def test_a_model_is_found_by_its_name() -> None:
    catalog = catalog_of(Registry())
    await catalog.refresh()
    assert catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything).served == PETS


async def test_the_only_model_for_a_task_needs_no_name() -> None:
    catalog = catalog_of(Registry())
    await catalog.refresh()
    assert catalog.find(Task.IMAGE_CLASSIFICATION, None, anything).name == "pets"


async def test_of_several_models_the_one_marked_default_needs_no_name() -> None:
    catalog = catalog_of(Registry([PETS, named("zoo", **{"gateway.default": "true"})]))
    await catalog.refresh()
    assert catalog.find(Task.IMAGE_CLASSIFICATION, None, anything).name == "zoo"


async def test_the_default_stays_it_when_another_says_so_too_and_while_it_is_loaded_again() -> None:
    """The other one comes before it by name."""
    zoo = named("zoo", **{"gateway.default": "true"})
    registry = Registry([zoo])
    catalog = catalog_of(registry)
    await catalog.refresh()
    registry.served = [named("pets", **{"gateway.default": "true"}), zoo]
    await catalog.refresh()
    assert catalog.defaults(Task.IMAGE_CLASSIFICATION) == ["zoo", "pets"]
    assert catalog.find(Task.IMAGE_CLASSIFICATION, None, anything).name == "zoo"
    assert catalog.find(Task.IMAGE_CLASSIFICATION, None, lambda name: name != "zoo").name == "pets"
    registry.served.remove(zoo)
    registry.unavailable["zoo"] = "LOADING"
    await catalog.refresh()
    assert catalog.find(Task.IMAGE_CLASSIFICATION, None, anything).name == "pets"
    registry.served.append(zoo)
    await catalog.refresh()
    assert catalog.find(Task.IMAGE_CLASSIFICATION, None, anything).name == "zoo"


async def test_several_models_without_a_default_ask_for_a_name_and_list_them() -> None:
    catalog = catalog_of(Registry([PETS, named("zoo")]))
    await catalog.refresh()
    with pytest.raises(ValidationFailed) as caught:
        catalog.find(Task.IMAGE_CLASSIFICATION, None, anything)
    assert caught.value.errors[0].detail == "One of: pets, zoo."


async def test_a_model_for_another_task_is_a_wrong_field() -> None:
    catalog = catalog_of(Registry())
    await catalog.refresh()
    with pytest.raises(ValidationFailed) as caught:
        catalog.find(Task.OBJECT_DETECTION, "pets", anything)
    assert caught.value.errors[0].pointer == "/model"


async def test_a_task_for_which_no_model_is_allowed_is_refused_as_a_model_that_is_not() -> None:
    catalog = catalog_of(Registry())
    await catalog.refresh()
    with pytest.raises(ModelNotFound, match="no model for image-classification"):
        catalog.find(Task.IMAGE_CLASSIFICATION, None, lambda _: False)


async def test_where_the_only_model_that_is_allowed_failed_to_load_waiting_may_help() -> None:
    catalog = catalog_of(Registry(unavailable={"zoo": "no such file"}))
    await catalog.refresh()
    with pytest.raises(ModelUnavailable):
        catalog.find(Task.IMAGE_CLASSIFICATION, None, lambda name: name == "zoo")


async def test_an_unknown_model_is_not_found() -> None:
    catalog = catalog_of(Registry())
    await catalog.refresh()
    with pytest.raises(ModelNotFound):
        catalog.find(Task.IMAGE_CLASSIFICATION, "cars", anything)


async def test_before_triton_was_ever_read_nothing_is_said_to_be_missing() -> None:
    with pytest.raises(ModelUnavailable):
        catalog_of(Registry()).find(Task.IMAGE_CLASSIFICATION, "pets", anything)


async def test_a_model_that_triton_failed_to_load_is_unavailable_not_missing() -> None:
    catalog = catalog_of(Registry([], {"pets": "UNAVAILABLE: no file"}))
    await catalog.refresh()
    with pytest.raises(ModelUnavailable) as caught:
        catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything)
    assert caught.value.internal == "UNAVAILABLE: no file"
    assert "no file" not in str(caught.value)


async def test_a_model_whose_parameters_contradict_each_other_is_unavailable_with_the_reason_inside() -> None:
    catalog = catalog_of(Registry([named("pets", **{"gateway.labels": "cat"})]))
    await catalog.refresh()
    with pytest.raises(ModelUnavailable) as caught:
        catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything)
    assert "gateway.labels has 1 lines" in caught.value.internal


async def test_a_model_without_a_task_is_not_offered() -> None:
    catalog = catalog_of(Registry([replace(PETS, parameters={})]))
    await catalog.refresh()
    assert catalog.cards() == []


async def test_a_model_that_appears_and_goes_is_seen_to_do_so() -> None:
    registry = Registry([])
    catalog = catalog_of(registry)
    await catalog.refresh()
    assert catalog.cards() == []
    registry.served = [PETS]
    await catalog.refresh()
    assert [card.name for card in catalog.cards()] == ["pets"]
    registry.served = []
    await catalog.refresh()
    with pytest.raises(ModelNotFound):
        catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything)


async def test_what_was_known_stays_known_while_triton_is_away() -> None:
    registry = Registry()
    catalog = catalog_of(registry)
    await catalog.refresh()
    registry.failure = UpstreamUnavailable("away")
    with pytest.raises(UpstreamUnavailable):
        await catalog.refresh()
    assert catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything).name == "pets"


async def test_a_snapshot_that_nobody_has_renewed_is_not_fresh() -> None:
    clock = Clock()
    catalog = catalog_of(Registry(), clock)
    assert not catalog.status().fresh
    await catalog.refresh()
    assert catalog.status().fresh
    clock.now += 10
    assert not catalog.status().fresh


async def test_the_default_version_is_the_highest_unless_the_card_names_one() -> None:
    catalog = catalog_of(Registry([PETS, named("zoo", **{"gateway.default_version": "1"})]))
    await catalog.refresh()
    assert [card.default_version for card in catalog.cards()] == ["2", "1"]


async def test_a_model_that_is_not_allowed_answers_like_one_that_does_not_exist() -> None:
    catalog = catalog_of(Registry())
    await catalog.refresh()
    messages = set()
    for name in ("pets", "cars"):
        with pytest.raises(ModelNotFound) as caught:
            catalog.find(Task.IMAGE_CLASSIFICATION, name, lambda _: False)
        messages.add(str(caught.value))
    assert len(messages) == 1


TENSORS = replace(PETS, name="tensors", parameters={})


async def test_a_model_without_a_task_can_be_called_with_tensors_only() -> None:
    catalog = catalog_of(Registry([PETS, TENSORS]))
    await catalog.refresh()
    assert catalog.callable("tensors", anything).served == TENSORS
    assert catalog.callable("pets", anything) is catalog.named("pets")
    assert [card.name for card in catalog.cards()] == ["pets"]
    assert [card.name for card in catalog.callable_cards()] == ["pets", "tensors"]
    assert catalog.named("tensors").served == TENSORS
    with pytest.raises(ValidationFailed, match="called on /v2"):
        catalog.find(Task.IMAGE_CLASSIFICATION, "tensors", anything)
    with pytest.raises(ModelNotFound):
        catalog.find(Task.IMAGE_CLASSIFICATION, "tensors", lambda _: False)


async def test_a_model_without_a_task_makes_the_catalog_useful_too() -> None:
    catalog = catalog_of(Registry([TENSORS]))
    await catalog.refresh()
    assert catalog.status().models == 1


async def test_a_model_without_a_task_has_the_general_keys() -> None:
    parameters = {"gateway.default_version": "1", "gateway.timeout_ms": "1500", "theirs": "x"}
    catalog = catalog_of(Registry([TENSORS, replace(TENSORS, name="other", parameters=parameters)]))
    await catalog.refresh()
    plain, other = catalog.callable("tensors", anything), catalog.callable("other", anything)
    assert (plain.default_version, plain.timeout, plain.capacity) == ("2", None, 8)
    assert (other.default_version, other.timeout) == ("1", 1.5)


async def test_a_key_that_says_nothing_without_a_task_is_an_error_of_the_operator() -> None:
    catalog = catalog_of(Registry([replace(TENSORS, parameters={"gateway.labels": "cat"})]))
    await catalog.refresh()
    with pytest.raises(ModelUnavailable) as caught:
        catalog.callable("tensors", anything)
    assert "gateway.labels" in caught.value.internal


async def test_what_is_not_allowed_is_as_if_it_were_not_there() -> None:
    catalog = catalog_of(Registry([TENSORS]))
    await catalog.refresh()
    with pytest.raises(ModelNotFound):
        catalog.callable("tensors", lambda _: False)


OTHER_WAY_ROUND = named("pets", **{"gateway.labels": "dog\ncat"})


async def test_an_answer_that_was_made_by_an_older_card_is_none() -> None:
    registry = Registry()
    catalog = catalog_of(registry)
    await catalog.refresh()
    card = catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything)
    more = {"gateway.default": "true", "gateway.default_version": "1", "gateway.timeout_ms": "5"}
    for served in (PETS, replace(PETS, versions=("1", "2", "3")), named("pets", **more)):
        registry.served = [served]
        await catalog.refresh()
        await catalog.confirm(card)
    registry.served = [OTHER_WAY_ROUND]
    await catalog.confirm(card)  # nobody has said so
    await catalog.refresh()
    with pytest.raises(ModelUnavailable):
        await catalog.confirm(card)


async def test_while_a_model_is_loaded_each_answer_is_confirmed_by_triton_itself() -> None:
    registry = Registry()
    catalog = catalog_of(registry)
    await catalog.refresh()
    card = catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything)
    with catalog.changing("pets"):
        await asyncio.gather(*(catalog.confirm(card) for _ in range(9)))
        registry.served = [OTHER_WAY_ROUND]
        with pytest.raises(ModelUnavailable):
            await catalog.confirm(card)
    await catalog.confirm(catalog.find(Task.IMAGE_CLASSIFICATION, "pets", anything))


async def test_a_model_of_which_nothing_changed_keeps_its_card() -> None:
    registry = Registry([PETS, TENSORS])
    catalog = catalog_of(registry)
    await catalog.refresh()
    before = catalog.callable_cards()
    registry.served = [replace(PETS), replace(TENSORS)]
    await catalog.refresh()
    assert all(one is other for one, other in zip(before, catalog.callable_cards(), strict=True))
