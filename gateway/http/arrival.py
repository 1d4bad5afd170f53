"""How the server hands a body over to whoever collects it: by a call for each piece, where ASGI wants a waking task.

A large body comes in dozens of pieces. Of each, the task, a pause of the reading and two more copies are saved.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

_KEY = "gateway.arrival"


@contextmanager
def arriving(scope: MutableMapping[str, Any], take: Callable[[bytes], bool]) -> Iterator[None]:
    """Within the block `take` gets each piece as it comes, and the next message of ASGI's is that of the end.

    Where `take` says no, that piece and all that follow are messages. The first message must have been received: what
    it holds came before. Under a server that is no `Guard` all pieces are messages.
    """
    state = scope.setdefault("state", {})
    state[_KEY] = take
    try:
        yield
    finally:
        state.pop(_KEY, None)


def handed_over(scope: Mapping[str, Any], piece: bytes) -> bool:
    """For the server: whether somebody took this piece, which is no message's then."""
    take: Callable[[bytes], bool] | None = scope["state"].get(_KEY)
    if take is not None and take(piece):
        return True
    scope["state"].pop(_KEY, None)  # or a later piece, for which there is room again, would overtake this one
    return False
