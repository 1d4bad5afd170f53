"""Which versions a model's version policy keeps, of those that there are."""

from collections.abc import Sequence


def kept(policy: str, versions: Sequence[str]) -> frozenset[str]:
    """`policy` as in `ServedModel`: "all", "latest 2", "specific 1, 3"; `versions` in ascending order."""
    kind, _, rest = policy.partition(" ")
    if kind == "specific":
        return frozenset(rest.split(", ")) & set(versions)
    return frozenset(versions[-int(rest) :] if kind == "latest" else versions)
