"""Which versions of a model are loaded, and who counts on which; pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gateway.canary import Route
from gateway.catalog import Card, ModelCard
from gateway.doctor.finding import Finding, error, warning


def version_findings(
    card: Card, config: Mapping[str, Any], *, is_step: bool, unloaded: Collection[str]
) -> Iterator[Finding]:
    """For a model that can be called. `is_step`: an ensemble calls it, so that it need not have a task; `unloaded` are
    the versions that Triton has had, and unloaded.
    """
    subject, ready = f"model {card.name}", card.served.versions
    policy = config.get("version_policy") or {}
    if "latest" in policy and int(policy["latest"].get("num_versions") or 1) == 1:
        yield warning(
            subject,
            "one-version",
            "version_policy loads the newest version only: no canary is possible, and a new folder takes over at once.",
            "Set version_policy { specific { versions: [ … ] } } with the versions to be loaded, or all { }.",
        )
    named = [str(version) for version in policy.get("specific", {}).get("versions", ())]
    for version in named:
        if version in unloaded:
            yield warning(
                subject,
                "version-unloaded",
                f"version_policy names version {version}, which was unloaded: its folder went, or the policy was "
                "changed since, and Triton reports the one that the loaded versions came with.",
                "Is it retired, name the policy in the next --config too, or in config.pbtxt (docs/model-control.md). "
                f"Is it not, see that its folder is there, then: gateway models load {card.name}",
            )
        elif version not in ready:
            yield error(
                subject,
                "version-not-ready",
                f"version_policy names version {version}, which is not ready: it can be neither chosen nor tried.",
                "Put its folder into the repository and load the model, or take it out of the policy.",
            )
    if card.default_version not in ready:
        yield error(
            subject,
            "default-not-ready",
            f"gateway.default_version is {card.default_version}, which is not ready: callers get 503.",
            f"Load that version, or name one that is: {', '.join(ready)}.",
        )
    elif len(named) != 1 and not card.served.parameters.get("gateway.default_version"):
        yield warning(
            subject,
            "highest-version",
            "gateway.default_version is not set: a new version has all the traffic in the moment that it is loaded.",
            f'Set the parameter gateway.default_version to "{card.default_version}", and move on with a canary.',
        )
    if not isinstance(card, ModelCard) and not card.served.decoupled and not is_step:
        yield warning(
            subject,
            "no-task",
            "gateway.task is not set, and so no labels: the model answers tensors on /v2, and nothing on /v1.",
            "Set the parameters gateway.task and gateway.labels (docs/models.md), if /v1 is meant to have it.",
        )


def route_findings(model: str, route: Route, ready: Sequence[str], *, generation: int) -> Iterator[Finding]:
    """`ready` are the model's versions that Triton has ready; `generation` is the route's."""
    if ready:
        otherwise = f"set a route to a version that is: {', '.join(ready)}."
    else:
        otherwise = (
            "where it is gone for good, take its route away: "
            f"""curl -X DELETE -H "X-API-Key: $GATEWAY_ADMIN_KEY" -H 'If-Match: "{generation}"' """
            f"$GATEWAY_URL/admin/v1/canaries/{quote(model, safe='')}"
        )
    needed = {"stable": route.stable, "canary": route.canary if route.salt else None}
    for variant, version in needed.items():
        if version is not None and version not in ready:
            yield error(
                f"route {model}",
                "route-to-nowhere",
                f"its {variant} version is {version}, which is not ready in Triton.",
                f"gateway models load {model}; or {otherwise}",
            )
