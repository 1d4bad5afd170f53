"""What stands against unloading a model or one of its versions; pure."""

from collections.abc import Sequence

from gateway.canary import Route
from gateway.catalog import Card, ModelCard


def needed_versions(card: Card | None, route: Route | None) -> frozenset[str]:
    """The versions that somebody without a pin may be sent to."""
    if route is not None:
        rollout = [route.canary] if route.salt and route.canary is not None else []
        return frozenset([route.stable, *rollout])
    return frozenset() if card is None else frozenset({card.default_version})


def reasons_against(card: Card | None, route: Route | None, wanted: Card) -> list[str]:
    """Sentences, each with what is needed of `card` and would be lost with `wanted`; none where nothing is."""
    lost = needed_versions(card, route) - set(wanted.served.versions)
    reasons = [f"Version {version} would be unloaded, and is needed." for version in sorted(lost)]
    if isinstance(card, ModelCard):
        if not (isinstance(wanted, ModelCard) and wanted.task is card.task):
            reasons.append(f"It would no longer answer for {card.task}.")
        elif card.parameters.default and not wanted.parameters.default:
            reasons.append(f"It would no longer be the default for {card.task}.")
    return reasons


def reasons_to_keep(card: Card | None, route: Route | None, ensembles: Sequence[str]) -> list[str]:
    """Sentences, each with what needs the whole model; none where nothing does. `ensembles` have it as a step."""
    reasons = [f"It is a step of the ensemble {name}." for name in ensembles]
    if route is not None:
        reasons.append(f"It has a route, which sends callers to version {route.stable}.")
        if route.salt and route.canary is not None:
            reasons.append(f"A rollout of version {route.canary} is under way.")
    if isinstance(card, ModelCard) and card.parameters.default:
        reasons.append(f"It is the default for {card.task}: it answers requests that name no model.")
    return reasons
