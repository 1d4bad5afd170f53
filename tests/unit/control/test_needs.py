"""What stands against a change of a model, and what of its configuration does not hold."""

from dataclasses import replace

from support.cards import classifier

from gateway.canary import Route
from gateway.catalog import ModelCard
from gateway.catalog.card import read_card
from gateway.control.needs import reasons_against, reasons_to_keep, shortcomings


def card(name: str = "pets", **parameters: str) -> ModelCard:
    return read_card(replace(classifier(name=name, **parameters), versions=("1", "2")))


PLAIN, DEFAULT = card(), card(default="true")


def test_a_version_that_answers_where_none_is_asked_for_has_to_be_loaded() -> None:
    (reason,) = shortcomings(card(default_version="9"), None, None)
    assert "Version 9 answers where no version is asked for, and is not loaded (1, 2)." in reason
    assert not shortcomings(card(default_version="9"), Route(model="pets", stable="2"), None)
    assert shortcomings(card(default_version="1"), Route(model="pets", stable="9"), None)


def test_of_two_defaults_the_second_is_none() -> None:
    (reason,) = shortcomings(DEFAULT, None, "zoo")
    assert "zoo is" in reason
    assert not shortcomings(DEFAULT, None, "pets")
    assert not shortcomings(PLAIN, None, "zoo")


def test_a_change_makes_no_second_default() -> None:
    (reason,) = reasons_against(PLAIN, None, DEFAULT, "zoo")
    assert "is zoo" in reason
    assert not reasons_against(PLAIN, None, DEFAULT, None)
    assert not reasons_against(DEFAULT, None, PLAIN, "zoo"), "it was none"
    assert reasons_against(DEFAULT, None, PLAIN, "pets")


def test_only_the_model_that_answers_who_names_none_is_needed_for_it() -> None:
    assert "answers requests that name no model" in reasons_to_keep(DEFAULT, None, [], "pets")[0]
    assert not reasons_to_keep(DEFAULT, None, [], "zoo")
