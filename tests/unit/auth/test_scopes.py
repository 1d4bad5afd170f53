"""What a credential allows, and that everything else is denied."""

import pytest

from gateway.auth.scopes import (
    has_scope,
    is_scope,
    may_use,
    require_giving,
    require_inference,
    require_scope,
)
from gateway.domain import Principal, Priority
from gateway.errors import Forbidden


def caller(*scopes: str, models: set[str] | None = None) -> Principal:
    allowed = None if models is None else frozenset(models)
    return Principal("id", "acme", frozenset(scopes), allowed, "standard", Priority.STANDARD)


@pytest.mark.parametrize(
    "text",
    ["infer", "infer:pets", "infer:a.b-c_1", "pin-version", "admin:canary", "admin:models", "admin:keys"],
)
def test_the_vocabulary(text: str) -> None:
    assert is_scope(text)


@pytest.mark.parametrize(
    "text", ["", "infer:", "infer:*", "infer:a b", "Infer", "admin", "admin:*", "admin:all", "*"]
)
def test_other_words_are_no_scopes(text: str) -> None:
    assert not is_scope(text)


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        pytest.param(caller("infer"), True, id="infer grants every model"),
        pytest.param(caller("infer:pets"), True, id="infer:<model> grants that model"),
        pytest.param(caller("infer:cars"), False, id="infer:<model> grants no other"),
        pytest.param(caller("infer:pet"), False, id="a prefix of the name is another name"),
        pytest.param(caller("infer", models={"pets"}), True, id="the allow-list names it"),
        pytest.param(caller("infer", models={"cars"}), False, id="the allow-list names another"),
        pytest.param(caller("infer", models=set()), False, id="an empty allow-list names none"),
        pytest.param(
            caller("infer:pets", models={"cars"}), False, id="the allow-list narrows, it grants nothing"
        ),
        pytest.param(caller(models={"pets"}), False, id="no scope, no model"),
        pytest.param(caller("admin:models"), False, id="administration does not include use"),
    ],
)
def test_a_model_needs_a_scope_and_a_place_on_the_allow_list(principal: Principal, allowed: bool) -> None:
    assert may_use(principal, "pets") is allowed


def test_no_scope_includes_another_but_infer_its_models() -> None:
    assert has_scope(caller("infer"), "infer:pets")
    assert not has_scope(caller("infer:pets"), "infer")
    assert not has_scope(caller("infer", "admin:models", "admin:canary"), "admin:keys")


def test_a_caller_without_the_scope_is_told_which_one() -> None:
    require_scope(caller("admin:keys"), "admin:keys")
    with pytest.raises(Forbidden, match="admin:canary"):
        require_scope(caller("infer"), "admin:canary")


def test_a_caller_who_may_use_nothing_is_forbidden_to_infer() -> None:
    require_inference(caller("infer:pets"))
    with pytest.raises(Forbidden, match="infer"):
        require_inference(caller("admin:keys", "pin-version"))


@pytest.mark.parametrize(
    ("giver", "scopes", "models"),
    [
        pytest.param(caller("infer", "admin:keys"), {"infer"}, None, id="what it holds"),
        pytest.param(caller("infer"), {"infer:pets"}, None, id="a part of what it holds"),
        pytest.param(caller("infer"), {"infer"}, {"pets"}, id="fewer models"),
        pytest.param(caller("infer", models={"pets", "cars"}), {"infer"}, {"pets"}, id="fewer than its own"),
    ],
)
def test_what_one_holds_one_can_give(giver: Principal, scopes: set[str], models: set[str] | None) -> None:
    require_giving(giver, scopes, None if models is None else frozenset(models))


@pytest.mark.parametrize(
    ("giver", "scopes", "models", "named"),
    [
        pytest.param(caller("admin:keys"), {"infer"}, None, "infer", id="another scope"),
        pytest.param(caller("infer:pets"), {"infer"}, None, "infer", id="more than one model's scope"),
        pytest.param(caller("infer", models={"pets"}), {"infer"}, None, "models", id="every model"),
        pytest.param(caller("infer", models={"pets"}), {"infer"}, {"cars"}, "models", id="another model"),
    ],
)
def test_nobody_gives_away_what_it_does_not_hold(
    giver: Principal, scopes: set[str], models: set[str] | None, named: str
) -> None:
    with pytest.raises(Forbidden, match=named):
        require_giving(giver, scopes, None if models is None else frozenset(models))
