"""What of a model's configuration a change may have: how it is scheduled, and what the gateway makes of it; pure.

What names a file, a program or another model stands in config.pbtxt alone. Triton follows such a name out of the
model's folder: it would read a file of its machine out as labels, or run one, for somebody who may not write there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.errors import FieldError

# In these no name reaches a file, but for the states of a sequence, which may begin with one.
_FREE = frozenset(
    {
        "name",
        "version_policy",
        "max_batch_size",
        "dynamic_batching",
        "sequence_batching",
        "instance_group",
        "model_transaction_policy",
        "response_cache",
        "metric_tags",
        "model_metrics",
        "parameters",
    }
)


def refused(change: Mapping[str, Any]) -> list[FieldError]:
    """The fields that a change may not have, each with a sentence; none where it may have all of them."""
    return [FieldError(where, f"{name} stands in config.pbtxt alone.") for where, name in _not_free(change)]


def _not_free(change: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The object that has it, and its name there."""
    yield from (("/config", name) for name in change if name not in _FREE)
    for name, is_free in (("parameters", _is_ours), ("sequence_batching", _is_no_state)):
        inner = change.get(name)
        if isinstance(inner, Mapping):
            yield from ((f"/config/{name}", key) for key in inner if not is_free(key))


def _is_ours(parameter: str) -> bool:
    return parameter.startswith("gateway.")


def _is_no_state(field: str) -> bool:
    return field != "state"
