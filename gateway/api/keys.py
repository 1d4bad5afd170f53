"""/admin/v1/keys: API keys are made, listed, rotated and revoked here; a secret is shown once and kept nowhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from litestar import Router, delete, get, post
from litestar.params import FromPath

from gateway.api.admin_schemas import KeyInfo, KeyList, KeyRequest, NewKey, RotateRequest, key_fields
from gateway.api.body import BodyReader
from gateway.api.context import HttpRequest, context_of
from gateway.api.documentation import failures
from gateway.api.operations import AdminOperation
from gateway.api.parsing import read_json
from gateway.auth import ApiKey, Grant, KeyRing
from gateway.auth.scopes import ADMIN_KEYS, is_administration, require_giving
from gateway.auth.store import IssuedKey, KeyIsRevoked, KeyStore, KeyStoreAway, UnknownKey, UnreadableKey
from gateway.domain import Tier
from gateway.errors import KeyConflict, KeyNotFound, Overloaded, ValidationFailed
from gateway.store import Area, Audit


def key_routes(
    store: KeyStore, ring: KeyRing, tiers: Mapping[str, Tier], bodies: BodyReader, audit: Audit
) -> Router:
    """The handlers, bound to their collaborators. Every one needs the scope admin:keys."""

    async def noted(request: HttpRequest, action: str, key_id: str) -> None:
        await audit.note(context_of(request).caller.id, Area.KEYS, action, key_id)

    async def shown(request: HttpRequest, action: str, issued: IssuedKey) -> NewKey:
        """Whatever fails now: the key is made, and its secret must be shown."""
        await noted(request, action, issued.record.id)
        with suppress(KeyStoreAway):
            await ring.refresh()  # the others hear of it; this worker's caller may use the secret at once
        return NewKey(key=issued.secret, **key_fields(issued.record))

    @post(
        "/",
        status_code=201,
        operation_class=AdminOperation.taking(KeyRequest),
        summary="Make a key",
        responses=failures(408, 413, 415, 422),
    )
    async def create(request: HttpRequest) -> NewKey:
        async with bodies.document(request) as body:
            wanted = read_json(request, body, KeyRequest)
        if wanted.tier not in tiers:
            raise ValidationFailed.of("/tier", f"One of: {', '.join(sorted(tiers))}.")
        grant = wanted.grant(tiers[wanted.tier].priority)
        grant.check(time.time())  # what is no scope at all is a wrong field, not one that the caller lacks
        _check_giving(request, grant)
        with _translated():
            issued = await store.create(grant)
        return await shown(request, "create", issued)

    @get("/", summary="List the keys, revoked ones too", responses=failures())
    async def listed() -> KeyList:
        with _translated():
            found = await store.listing()
        return KeyList(
            keys=[KeyInfo(**key_fields(record)) for record in found.records], unreadable=found.unreadable
        )

    @get("/{key_id:str}", summary="Show a key", responses=failures(404, 409))
    async def show(key_id: FromPath[str]) -> KeyInfo:
        with _translated():
            return KeyInfo(**key_fields(await store.get(key_id)))

    @post(
        "/{key_id:str}/rotate",
        status_code=201,
        operation_class=AdminOperation.taking(RotateRequest),
        summary="Give a key a new secret; the old one holds for a while",
        responses=failures(404, 408, 409, 413, 415, 422),
    )
    async def rotate(request: HttpRequest, key_id: FromPath[str]) -> NewKey:
        async with bodies.document(request) as body:
            wanted = read_json(request, body or b"{}", RotateRequest)
        with _translated():
            _check_giving(
                request, (await store.get(key_id)).grant
            )  # its new secret will be the caller's to use
            issued = await store.rotate(key_id, overlap=wanted.overlap)
        return await shown(request, "rotate", issued)

    @delete("/{key_id:str}", summary="Revoke a key", responses=failures(404))
    async def revoke(request: HttpRequest, key_id: FromPath[str]) -> None:
        with _translated():
            key = await _believed(key_id, store, ring)
            # Else the least of those who administer could shut out all others.
            if key is not None and any(map(is_administration, key.grant.scopes)):
                _check_giving(request, key.grant)
            await store.revoke(key_id)
            await noted(request, "revoke", key_id)
            await ring.refresh()

    return Router(
        "/admin/v1/keys",
        route_handlers=[create, listed, show, rotate, revoke],
        opt={"scope": ADMIN_KEYS},
        tags=["keys"],
    )


async def _believed(key_id: str, store: KeyStore, ring: KeyRing) -> ApiKey | None:
    """The key: where the store's cannot be read, the one that still passes here, if any. Raises UnknownKey."""
    try:
        return await store.get(key_id)
    except UnreadableKey:
        return ring.find(key_id)


def _check_giving(request: HttpRequest, grant: Grant) -> None:
    """Rights only: which tier, ceiling and rate a key gets is the administration's to decide."""
    require_giving(context_of(request).caller, grant.scopes, grant.models)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except UnknownKey:
        raise KeyNotFound("There is no key with this id.") from None
    except UnreadableKey as error:
        detail = "What Redis holds for this key cannot be read; it can only be revoked."
        raise KeyConflict(detail, internal=str(error)) from None
    except KeyIsRevoked:
        raise KeyConflict("The key is revoked; make a new one.") from None
    except KeyStoreAway as error:
        raise Overloaded(
            f"Redis, where the keys are kept, {error.state}.", retry_after=2, internal=str(error)
        ) from None
