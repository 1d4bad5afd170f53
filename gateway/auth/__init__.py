"""API keys and signed tokens: from the values of a request's headers to the Principal behind them."""

from gateway.auth.authenticator import Authenticator
from gateway.auth.console import ConsoleSession, ConsoleSessions
from gateway.auth.denylist import DeniedTokens, DenyList
from gateway.auth.issuers import ClaimNames, ExternalIssuer, Issuer, TrustedIssuers
from gateway.auth.jwks import RemoteKeys, StaticKeys
from gateway.auth.keys import KeyHasher
from gateway.auth.record import ApiKey, Grant
from gateway.auth.ring import KeyRing, RingStatus
from gateway.auth.scopes import has_scope, is_listed, may_use, require_inference, require_scope
from gateway.auth.sessions import SessionToken, SessionTokens
from gateway.auth.store import (
    IssuedKey,
    KeyIsRevoked,
    KeyStore,
    KeyStoreAway,
    KeyStoreError,
    UnknownKey,
    UnreadableKey,
)
from gateway.auth.throttle import FailureThrottle
from gateway.auth.tiers import TierWatch, keys_without_tier
from gateway.auth.tokens import TokenVerifier

__all__ = [
    "ApiKey",
    "Authenticator",
    "ClaimNames",
    "ConsoleSession",
    "ConsoleSessions",
    "DeniedTokens",
    "DenyList",
    "ExternalIssuer",
    "FailureThrottle",
    "Grant",
    "IssuedKey",
    "Issuer",
    "KeyHasher",
    "KeyIsRevoked",
    "KeyRing",
    "KeyStore",
    "KeyStoreAway",
    "KeyStoreError",
    "RemoteKeys",
    "RingStatus",
    "SessionToken",
    "SessionTokens",
    "StaticKeys",
    "TierWatch",
    "TokenVerifier",
    "TrustedIssuers",
    "UnknownKey",
    "UnreadableKey",
    "has_scope",
    "is_listed",
    "keys_without_tier",
    "may_use",
    "require_inference",
    "require_scope",
]
