"""Which version answers: by the route, by the caller's place on it, and by what callers may ask for."""

import pytest

from gateway.canary.route import Life, Route, Source, Sticky
from gateway.canary.router import Ask, Preference, Router
from gateway.canary.table import Live
from gateway.catalog.card import ModelCard, read_card
from gateway.domain import ModelVersion, Principal, Priority, ServedModel, TensorSpec, Variant
from gateway.errors import Forbidden, ModelUnavailable, VersionNotFound


def card(*versions: str, **parameters: str) -> ModelCard:
    return read_card(
        ServedModel(
            name="pets",
            versions=versions or ("1", "2", "3"),
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


class Routes:
    def __init__(self, route: Route | None) -> None:
        self._route = route

    def route(self, model: str) -> Live[Route] | None:
        return None if self._route is None else Live(self._route, 7)


def router(route: Route | None = None) -> Router:
    return Router(Routes(route))


def ask(
    caller: str = "key-1",
    *,
    tenant: str = "shop",
    may_pin: bool = False,
    pinned: str | None = None,
    preference: Preference | None = None,
    **named: str,
) -> Ask:
    principal = Principal(caller, tenant, frozenset({"infer"}), None, "premium", Priority.INTERACTIVE)
    return Ask(principal, may_pin, pinned, preference, lambda source, name: named.get(f"{source}_{name}"))


def rollout(weight: int, **fields: object) -> Route:
    return Route(**{"model": "pets", "stable": "1", "canary": "2", "weight": weight, "salt": "s", **fields})  # type: ignore[arg-type]


STABLE = ModelVersion("pets", "1", Variant.STABLE)
CANARY = ModelVersion("pets", "2", Variant.CANARY)


def test_without_a_route_the_default_version_answers_as_stable() -> None:
    assert router().choose(card(default_version="1"), ask()).target == STABLE
    assert router().choose(card(), ask()).target == ModelVersion("pets", "3", Variant.STABLE)


def test_a_route_goes_before_the_default_version() -> None:
    assert router(Route("pets", "1")).choose(card(default_version="3"), ask()).target == STABLE


@pytest.mark.parametrize(("weight", "target"), [(0, STABLE), (10_000, CANARY)])
def test_nobody_and_everybody_are_exact(weight: int, target: ModelVersion) -> None:
    found = {router(rollout(weight)).choose(card(), ask(f"key-{n}")).target for n in range(500)}
    assert found == {target}


def test_a_canary_has_the_stable_version_to_fall_back_on_and_stable_calls_may_be_mirrored() -> None:
    everybody = router(rollout(10_000)).choose(card(), ask())
    assert (everybody.fallback, everybody.mirror) == (STABLE, None)
    nobody = router(rollout(0, mirror=2500)).choose(card(), ask())
    shadow = ModelVersion("pets", "2", Variant.SHADOW)
    assert (nobody.target, nobody.fallback, nobody.mirror, nobody.share) == (STABLE, None, shadow, 2500)


def test_a_caller_stays_where_it_is_and_a_larger_weight_takes_nobody_back() -> None:
    def on_canary(weight: int) -> set[int]:
        choose = router(rollout(weight)).choose
        return {n for n in range(300) if choose(card(), ask(f"key-{n}")).target == CANARY}

    assert on_canary(1000) == on_canary(1000)
    assert on_canary(1000) < on_canary(3000) < on_canary(7000)


def test_an_end_user_whom_a_header_or_a_cookie_names_is_told_apart_within_the_tenant() -> None:
    for source in (Source.HEADER, Source.COOKIE):
        choose = router(rollout(5000, sticky=Sticky(source, "uid"))).choose
        named = [choose(card(), ask(**{f"{source}_uid": f"u{n}"})).target for n in range(100)]
        assert {STABLE, CANARY} == set(named)
        other_key = [choose(card(), ask("key-2", **{f"{source}_uid": f"u{n}"})).target for n in range(100)]
        assert other_key == named
        elsewhere = [
            choose(card(), ask(tenant="bank", **{f"{source}_uid": f"u{n}"})).target for n in range(100)
        ]
        assert elsewhere != named


def test_without_the_name_the_caller_counts() -> None:
    choose = router(rollout(5000, sticky=Sticky(Source.HEADER, "uid"))).choose
    by_principal = router(rollout(5000)).choose
    for n in range(50):
        assert choose(card(), ask(f"key-{n}")) == by_principal(card(), ask(f"key-{n}"))


@pytest.mark.parametrize("listed", ["key-1", "shop"], ids=["a key", "a tenant"])
def test_those_on_the_list_are_always_on_the_canary_of_a_rollout(listed: str) -> None:
    assert router(rollout(0, always=(listed,))).choose(card(), ask()).target == CANARY
    over = Route("pets", "1", "2", always=(listed,))
    assert router(over).choose(card(), ask()).target == STABLE


def test_a_preference_goes_before_the_weight() -> None:
    always = ask(may_pin=True, preference=Preference.ALWAYS)
    never = ask(may_pin=True, preference=Preference.NEVER)
    assert router(rollout(0)).choose(card(), always).target == CANARY
    assert router(rollout(10_000)).choose(card(), never).target == STABLE
    assert router(Route("pets", "1", "2")).choose(card(), always).target == STABLE


@pytest.mark.parametrize(
    "wish", [{"pinned": "2"}, {"preference": Preference.ALWAYS}, {"preference": Preference.NEVER}]
)
def test_a_wish_needs_its_scope(wish: dict[str, object]) -> None:
    with pytest.raises(Forbidden, match="pin-version"):
        router(rollout(0)).choose(card(), ask(**wish))  # type: ignore[arg-type]


def test_a_pinned_version_answers_whether_it_is_on_the_route_or_not() -> None:
    for version in ("1", "2", "3"):
        choice = router(rollout(500)).choose(card(), ask(may_pin=True, pinned=version))
        assert choice.target == ModelVersion("pets", version, Variant.PINNED)
        assert (choice.fallback, choice.mirror) == (None, None)


def test_a_pinned_version_that_is_not_loaded_is_not_found() -> None:
    with pytest.raises(VersionNotFound):
        router(rollout(500)).choose(card("1", "2"), ask(may_pin=True, pinned="3"))


def test_a_canary_that_is_not_loaded_takes_nobody() -> None:
    choice = router(rollout(10_000, mirror=100)).choose(card("1", "3"), ask())
    assert (choice.target, choice.mirror) == (STABLE, None)


@pytest.mark.parametrize("route", [None, Route("pets", "1")])
def test_a_stable_version_that_is_not_loaded_is_unavailable_and_never_not_found(route: Route | None) -> None:
    with pytest.raises(ModelUnavailable):
        router(route).choose(card("2", "3", default_version="1"), ask())


def test_what_is_known_of_the_versions_lives_travels_along() -> None:
    lives = {"1": Life(1.0, 2.0)}
    assert router(rollout(0, lives=lives)).choose(card(), ask()).lives == lives
