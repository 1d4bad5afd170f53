"""Who may call, and how much: keys, tokens, their issuers, and the quotas."""

import time
from dataclasses import dataclass

import httpx

from gateway.access_file import issuers_of, tiers_of
from gateway.api.access import Access
from gateway.api.body import BodyReader
from gateway.api.console_session import console_session_routes
from gateway.api.keys import key_routes
from gateway.api.tokens import token_routes, withdrawal_routes
from gateway.assembly.part import Part
from gateway.auth import (
    Authenticator,
    ConsoleSessions,
    DeniedTokens,
    DenyList,
    FailureThrottle,
    KeyHasher,
    KeyRing,
    KeyStore,
    SessionTokens,
    TierWatch,
    TokenVerifier,
    TrustedIssuers,
)
from gateway.ratelimit import CLIENT_TIMEOUT, RateLimiter, RedisStore
from gateway.settings import Settings
from gateway.store import Audit, connect, delivered_at_end
from gateway.telemetry.metrics import Metrics

STORE_TIMEOUT = 2.0  # seconds; keys and routes are read beside the requests, not in their way


@dataclass(frozen=True)
class Door:
    """What decides whether a request comes in; `access` is the decision, the rest is what others need."""

    access: Access
    ring: KeyRing
    denied: DenyList
    issuers: TrustedIssuers
    limiter: RateLimiter
    audit: Audit
    part: Part


def door(settings: Settings, metrics: Metrics, bodies: BodyReader) -> Door:
    """Raises AccessFileError."""
    redis = connect(settings.redis_url, timeout=STORE_TIMEOUT)  # of its own: slower, and beside the requests
    hasher = KeyHasher(settings.key_pepper.get_secret_value().encode())
    store = KeyStore(redis, hasher=hasher, environment=settings.environment, clock=time.time)
    tiers = tiers_of(settings.access_file)
    ring = KeyRing(
        store,
        clock=time.monotonic,
        grace=settings.keys_grace,
        adopted=TierWatch(tiers, clock=time.time),
    )
    withdrawn = DeniedTokens(redis)
    audit = Audit(redis)
    denied = DenyList(withdrawn, clock=time.monotonic, wall=time.time)
    sessions = SessionTokens(
        secret=settings.token_secret.get_secret_value().encode(), ring=ring, clock=time.time
    )
    consoles = ConsoleSessions(
        secret=settings.token_secret.get_secret_value().encode(), ring=ring, clock=time.time
    )
    http = httpx.AsyncClient(trust_env=False, follow_redirects=False)
    issuers = TrustedIssuers(issuers_of(settings.access_file), http=http, clock=time.monotonic)
    authenticator = Authenticator(
        ring=ring,
        hasher=hasher,
        tokens=TokenVerifier([sessions, *issuers], clock=time.time, denied=denied),
        sessions=TokenVerifier([consoles], clock=time.time, denied=denied),
        throttle=FailureThrottle(clock=time.monotonic),
        clock=time.time,
    )
    limits_redis = connect(settings.redis_url, timeout=CLIENT_TIMEOUT)
    limiter = RateLimiter(
        RedisStore(limits_redis, lease=settings.max_request_timeout + settings.body_timeout),
        shares=settings.workers * settings.replicas,
        clock=time.monotonic,
        on_state_change=metrics.limits.changed,
    )
    access = Access(authenticator=authenticator, limiter=limiter, tiers=tiers, decided=metrics.limits.decided)
    part = Part(
        handlers=[
            token_routes(sessions, denied, bodies),
            withdrawal_routes(withdrawn, denied, audit),
            console_session_routes(consoles, withdrawn, denied, time.time),
            key_routes(store, ring, tiers, bodies, audit),
        ],
        resources=[redis, delivered_at_end(audit.settle), http, limits_redis, limiter],
        tasks=[ring.watch, issuers.watch, denied.watch],
    )
    return Door(access, ring, denied, issuers, limiter, audit, part)
