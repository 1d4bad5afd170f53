"""The text of an API key, `gw_<env>_<id>_<secret><checksum>`, and the keyed hash that stands for it in the store.

The prefix lets scanners find leaked keys. The checksum (CRC-32 in base 62, as GitHub's tokens have it) refuses typos
without a lookup; it protects nothing. The secret has 190 bits, so a fast hash is enough: there is nothing to guess.
"""

import hmac
import re
import secrets
import zlib
from dataclasses import field

from gateway.errors import InvalidKey
from gateway.value import value

PREFIX = "gw_"
MIN_PEPPER_BYTES = 32

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [first + last for first in _DIGITS for last in _DIGITS]
_ID_LENGTH = 8
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_ENVIRONMENT = re.compile(r"[a-z0-9]{1,16}")
_ID = re.compile(rf"[0-9A-Za-z]{{{_ID_LENGTH}}}")
_KEY = re.compile(
    rf"(gw_[a-z0-9]{{1,16}}_([0-9A-Za-z]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}})"
    rf"([0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)


@value
class ParsedKey:
    """A text with the shape and the checksum of a key; whether anybody made it is another question."""

    id: str
    text: str = field(repr=False)


class KeyHasher:
    """HMAC-SHA256 under a pepper that the store does not have: a stolen store does not let anybody test guesses."""

    def __init__(self, pepper: bytes) -> None:
        if len(pepper) < MIN_PEPPER_BYTES:
            raise ValueError(f"the pepper has {len(pepper)} bytes, it needs {MIN_PEPPER_BYTES}")
        self._begun = hmac.new(pepper, digestmod="sha256")  # the same of every key, so it is done once

    def digest(self, key: str) -> str:
        """64 hexadecimal digits. `key` is the whole text, so the environment and the id are covered too."""
        digest = self._begun.copy()
        digest.update(key.encode())
        return digest.hexdigest()


def invalid_key(reason: str) -> InvalidKey:
    """The one answer for every key that is refused; `reason` goes to the log only."""
    return InvalidKey("The API key is not valid.", internal=reason)


def new_id() -> str:
    """Eight random characters; the store makes sure that no other key has them."""
    return _random(_ID_LENGTH)


def is_id(text: str) -> bool:
    """Whether `text` has the shape of a key's id."""
    return _ID.fullmatch(text) is not None


def generate(environment: str, key_id: str) -> str:
    """A new key. Raises ValueError for an environment that is not 1 to 16 of a-z and 0-9."""
    if not _ENVIRONMENT.fullmatch(environment):
        raise ValueError(f"{environment!r} is not an environment: 1 to 16 of a-z and 0-9")
    body = f"{PREFIX}{environment}_{key_id}_{_random(_SECRET_LENGTH)}"
    return body + _checksum(body)


def parse(text: str) -> ParsedKey:
    """Raises InvalidKey for anything but a whole key with its right checksum."""
    match = _KEY.fullmatch(text)
    if match is None:
        raise invalid_key("not the shape of a key")
    if _checksum(match[1]) != match[3]:
        raise invalid_key("wrong checksum")
    return ParsedKey(match[2], text)


def _random(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))


def _checksum(body: str) -> str:
    rest, last = divmod(zlib.crc32(body.encode()), len(_PAIRS))
    first, middle = divmod(rest, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[middle] + _PAIRS[last]
