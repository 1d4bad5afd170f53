"""The key that this gateway's own tokens are signed with: a secret that all workers share."""

import base64
from collections.abc import Mapping
from typing import Any

import jwt
from jwt import PyJWK

ALGORITHM = "HS256"

_MIN_SECRET_BYTES = 32


class Signer:
    """Signs tokens of one `kind` (their `typ`), and is the source of the key that they are checked with."""

    def __init__(self, secret: bytes, *, kind: str, key_id: str) -> None:
        if len(secret) < _MIN_SECRET_BYTES:
            raise ValueError(
                f"the secret of session tokens has {len(secret)} bytes, it needs {_MIN_SECRET_BYTES}"
            )
        encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
        self._key = PyJWK({"kty": "oct", "k": encoded, "alg": ALGORITHM})
        self._header = {"typ": kind, "kid": key_id}

    def sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key.key, ALGORITHM, headers=self._header)

    async def find(self, key_id: str, algorithm: str) -> PyJWK | None:
        return self._key if (key_id, algorithm) == (self._header["kid"], ALGORITHM) else None
