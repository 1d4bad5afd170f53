"""What stands against unloading a model or one of its versions, and what one that is loaded lacks; pure."""

from collections.abc import Sequence

from gateway.canary import Route
from gateway.catalog import Card, ModelCard


def needed_versions(card: Card | None, route: Route | None) -> frozenset[str]:
    """The versions that somebody without a pin may be sent to."""
    if route is not None:
        rollout = [route.canary] if route.salt and route.canary is not None else []
        return frozenset([route.stable, *rollout])
    return frozenset() if card is None else frozenset({card.default_version})


def stable_version(card: Card, route: Route | None) -> str:
    """The version that answers somebody without a pin; it may be one that is not loaded."""
    return card.default_version if route is None else route.stable


def shortcomings(card: Card, route: Route | None, default: str | None) -> list[str]:
    """Sentences, each with what of the model's own configuration does not hold. `default` is the model that answers for
    its task where none is named.
    """
    reasons, loaded = [], card.served.versions
    if loaded and (stable := stable_version(card, route)) not in loaded:
        reasons.append(
            f"Version {stable} answers where no version is asked for, and is not loaded ({', '.join(loaded)})."
        )
    if isinstance(card, ModelCard) and card.parameters.default and default not in (None, card.name):
        reasons.append(
            f"It is not the default for {card.task}, though gateway.default says so: {default} is."
        )
    return reasons


def reasons_against(
    card: Card | None, route: Route | None, wanted: Card, default: str | None = None
) -> list[str]:
    """Sentences, each with what is needed of `card` and would be lost with `wanted`; none where nothing is. `default`
    is the model that answers for the task of `wanted` where none is named.
    """
    lost = needed_versions(card, route) - set(wanted.served.versions)
    reasons = [f"Version {version} would be unloaded, and is needed." for version in sorted(lost)]
    if isinstance(card, ModelCard):
        if not (isinstance(wanted, ModelCard) and wanted.task is card.task):
            reasons.append(f"It would no longer answer for {card.task}.")
        elif card.parameters.default and not wanted.parameters.default and default == card.name:
            reasons.append(f"It would no longer be the default for {card.task}.")
    if isinstance(wanted, ModelCard) and wanted.parameters.default and default not in (None, wanted.name):
        reasons.append(f"The default for {wanted.task} is {default}: there would be two.")
    return reasons


def reasons_to_keep(
    card: Card | None, route: Route | None, ensembles: Sequence[str], default: str | None
) -> list[str]:
    """Sentences, each with what needs the whole model; none where nothing does. `ensembles` have it as a step;
    `default` is the model that answers for its task where none is named.
    """
    reasons = [f"It is a step of the ensemble {name}." for name in ensembles]
    if route is not None:
        reasons.append(f"It has a route, which sends callers to version {route.stable}.")
        if route.salt and route.canary is not None:
            reasons.append(f"A rollout of version {route.canary} is under way.")
    if isinstance(card, ModelCard) and default == card.name:
        reasons.append(f"It is the default for {card.task}: it answers requests that name no model.")
    return reasons
