"""What goes wrong around Redis, and the one error that it all becomes."""

from collections.abc import Iterator
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


class StoreAway(Exception):
    """Redis is away, slow, or refuses, or it answers what is no answer; the text is for the log."""


@contextmanager
def translated(away: type[StoreAway] = StoreAway) -> Iterator[None]:
    """Raises `away` for all that Redis, or what it holds, can do wrong inside the block: keep no other work there."""
    try:
        yield
    except FAILURES as error:
        raise away(f"{type(error).__name__}: {error}") from None
