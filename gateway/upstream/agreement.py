"""What several Tritons serve, as one: every model that any of them has, and who may be asked for it; pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.catalog import Inventory
from gateway.domain import ServedModel

Version = tuple[str, str]
"""A model's name, and one of its versions."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`inventory` is the union. `serving` are the versions that each endpoint may be asked for.

    An endpoint that has a model with another configuration than most is not asked for it: what its answers mean could
    not be told from what the others' do.
    """

    inventory: Inventory
    serving: Mapping[str, frozenset[Version]] = field(default_factory=dict)


def agreed(readings: Mapping[str, Inventory]) -> Agreement:
    """`readings` by endpoint. The configuration that most have of a model counts; of equally many, the first one's."""
    if len(readings) == 1:
        ((endpoint, inventory),) = readings.items()
        versions = frozenset((m.name, version) for m in inventory.served for version in m.versions)
        return Agreement(inventory, {endpoint: versions})
    by_model: dict[str, dict[str, ServedModel]] = {}
    unavailable: dict[str, str] = {}
    for endpoint, inventory in readings.items():
        for model in inventory.served:
            by_model.setdefault(model.name, {})[endpoint] = model
        unavailable |= {name: reason for name, reason in inventory.unavailable.items() if reason}
    serving: dict[str, set[Version]] = {endpoint: set() for endpoint in readings}
    united, differing = [], {}
    for name, found in sorted(by_model.items()):
        common, others = _common(found)
        united.append(_united([found[endpoint] for endpoint in common]))
        if others:
            differing[name] = f"{', '.join(others)} not as {', '.join(common)}"
        for endpoint in common:
            serving[endpoint] |= {(name, version) for version in found[endpoint].versions}
    missing = {name: reason for name, reason in unavailable.items() if name not in by_model}
    return Agreement(
        Inventory(tuple(united), missing, differing),
        {endpoint: frozenset(versions) for endpoint, versions in serving.items()},
    )


def _common(found: Mapping[str, ServedModel]) -> tuple[list[str], list[str]]:
    """The endpoints with the configuration that most have, and those with another."""
    calls = {endpoint: _call_of(model) for endpoint, model in found.items()}
    (most, _), *_ = Counter(map(repr, calls.values())).most_common()
    common = [endpoint for endpoint, call in calls.items() if repr(call) == most]
    return common, [endpoint for endpoint in found if endpoint not in common]


def _call_of(model: ServedModel) -> ServedModel:
    """What decides how the model is called and what its answer means."""
    return replace(
        model, versions=(), instances=0, version_policy="", parameters=dict(sorted(model.parameters.items()))
    )


def _united(models: list[ServedModel]) -> ServedModel:
    """With every version that any has, and as many instances as all have together."""
    versions = sorted({version for model in models for version in model.versions}, key=int)
    return replace(models[0], versions=tuple(versions), instances=sum(model.instances for model in models))
