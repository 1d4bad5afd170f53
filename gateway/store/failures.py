"""What goes wrong around Redis, and the one error that it all becomes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from redis.exceptions import RedisClusterException, RedisError

# Redis refuses or cannot be reached; or what it answered is no answer, or not what should stand there. The library
# unpacks such answers with no checks of its own, so the built-in errors are among what it raises, as they are among
# what comes of reading them here.
FAILURES = (
    RedisError,
    RedisClusterException,  # which the library keeps outside its tree
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,  # of a connection that was closed under it, and of an answer nested too deep
)

# The first word of such an answer, or the type that the library makes of it; of a script an old Redis has it in the
# middle of its answer.
_REASONS: Mapping[str, str] = {
    "OOM": "is full",
    "OutOfMemoryError": "is full",
    "READONLY": "is read-only",
    "ReadOnlyError": "is read-only",
    "MISCONF": "cannot write to its disk",
    "NOREPLICAS": "has too few replicas",
    "NoReplicasError": "has too few replicas",
}
_TAKES_NO_CHANGES = re.compile(rf"\b({'|'.join(_REASONS)})\b")


class StoreAway(Exception):
    """Redis is away, slow, or refuses, or it answers what is no answer; the text is for the log.

    `state` says to an operator what is wrong with it: one that takes no changes is there, and can be read.
    """

    state = "does not answer"


@contextmanager
def translated(away: type[StoreAway] = StoreAway) -> Iterator[None]:
    """Raises `away` for all that Redis, or what it holds, can do wrong inside the block: keep no other work there."""
    try:
        yield
    except FAILURES as error:
        failure = away(f"{type(error).__name__}: {error}")
        if found := _TAKES_NO_CHANGES.search(f"{type(error).__name__} {error}"):
            failure.state = f"{_REASONS[found[0]]}, and takes no changes"
        raise failure from None
