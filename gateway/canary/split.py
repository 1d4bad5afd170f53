"""Who is on the canary: a pure hash of the rollout's salt and the caller, the same in every worker and no cookie.

Every subject stands at a fixed place on a line, and the canary holds the line from its beginning up to the weight. So
a larger weight only adds subjects, a smaller one only takes the last ones back, and another salt deals anew.
"""

from hashlib import blake2b

FULL = 10_000  # basis points: everybody

_BITS = 64


def position(salt: str, subject: str) -> int:
    """Where the subject stands, evenly over 0 to 2**64 - 1: eight bytes of BLAKE2b, the first the most significant.

    The NUL between keeps ("ab", "c") and ("a", "bc") apart; a salt holds none.
    """
    text = b"\0".join(part.encode("utf-8", "surrogatepass") for part in (salt, subject))
    return int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest(), "big")


def on_canary(salt: str, subject: str, weight: int) -> bool:
    """Whether a weight in basis points takes the subject in. In whole numbers: 0 is nobody, 10,000 everybody."""
    return position(salt, subject) * FULL < weight << _BITS
