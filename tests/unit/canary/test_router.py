"""Which version answers, while there are no canaries."""

import pytest

from gateway.canary import StableRouter
from gateway.catalog.card import read_card
from gateway.domain import ModelVersion, ServedModel, TensorSpec, Variant
from gateway.errors import Forbidden, ModelUnavailable, VersionNotFound


def card(**parameters: str):  # type: ignore[no-untyped-def]
    return read_card(
        ServedModel(
            name="pets",
            versions=("1", "3"),
            max_batch_size=4,
            inputs=(TensorSpec("images", "UINT8", (3, 8, 8)),),
            outputs=(TensorSpec("scores", "FP32", (2,)),),
            parameters={
                "gateway.task": "image-classification",
                "gateway.labels": "cat\ndog",
                "gateway.resize": "stretch",
                **{f"gateway.{key}": value for key, value in parameters.items()},
            },
        )
    )


def test_without_a_pin_the_default_version_answers_as_stable() -> None:
    assert StableRouter().choose(card(default_version="1"), None, may_pin=False) == ModelVersion(
        "pets", "1", Variant.STABLE
    )


def test_a_pinned_version_answers_as_pinned() -> None:
    assert StableRouter().choose(card(default_version="1"), "3", may_pin=True) == ModelVersion(
        "pets", "3", Variant.PINNED
    )


def test_a_pinned_version_that_is_not_loaded_is_not_found() -> None:
    with pytest.raises(VersionNotFound):
        StableRouter().choose(card(), "2", may_pin=True)


def test_a_default_version_that_is_not_loaded_is_unavailable() -> None:
    with pytest.raises(ModelUnavailable):
        StableRouter().choose(card(default_version="2"), None, may_pin=True)


def test_a_pin_without_the_scope_is_forbidden() -> None:
    with pytest.raises(Forbidden):
        StableRouter().choose(card(), "3", may_pin=False)
