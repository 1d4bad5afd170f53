"""gzip and deflate for tensors, both ways: under a cap on the way in, and where it is worth it on the way out."""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.api.body import too_large
from gateway.domain import Buffer
from gateway.errors import ValidationFailed

_WINDOW = {"gzip": 31, "deflate": 15}  # zlib's own numbers; HTTP's deflate has zlib's frame around it
_LEVEL = 1  # tensors hardly shrink further, however long one tries
_ENOUGH = 1024  # bytes of JSON that are worth it

CODINGS = tuple(_WINDOW)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The coding that a caller prefers; `asked` where it names no other, so that somebody must have meant it."""

    coding: str
    asked: bool

    def pays(self, size: int, *, text: bool) -> bool:
        """Whether to compress so many bytes. Libraries accept everything by default, and few tensors shrink."""
        return self.asked or (text and size >= _ENOUGH)


@functools.lru_cache(maxsize=256)  # clients say the same with every request
def accepted(header: str) -> Accepted | None:
    """What an Accept-Encoding header (RFC 9110, 12.5.3) comes to; None for no coding that is ours."""
    weights = dict(map(_weighted, header.lower().split(",")))
    weights.pop("identity", None)
    ours = [coding for coding in CODINGS if weights.get(coding, 0) > 0]
    if not ours:
        return None
    return Accepted(max(ours, key=lambda coding: weights[coding]), asked=len(weights) == 1)


def inflate(body: bytes, coding: str, limit: int) -> bytes:
    """What the body was before it was packed. Raises BodyTooLarge, ValidationFailed."""
    unpacking = zlib.decompressobj(_WINDOW[coding])
    try:
        found = unpacking.decompress(body, limit + 1)
    except zlib.error:
        raise ValidationFailed.of("Content-Encoding", f"The body is not valid {coding}.") from None
    if len(found) > limit:
        raise too_large(limit)
    if not unpacking.eof or unpacking.unused_data:
        raise ValidationFailed.of("Content-Encoding", f"The body is not one whole {coding} stream.")
    return found


def deflate(parts: Sequence[Buffer], coding: str) -> bytes:
    """The parts one behind the other, packed."""
    packing = zlib.compressobj(_LEVEL, wbits=_WINDOW[coding])
    return b"".join([*map(packing.compress, parts), packing.flush()])


def _weighted(item: str) -> tuple[str, float]:
    coding, *parameters = (part.strip() for part in item.split(";"))
    weight = next((text.removeprefix("q=") for text in parameters if text.startswith("q=")), "1")
    try:
        return coding, float(weight)
    except ValueError:
        return coding, 0.0
