"""Which credentials open which route, in the words of OpenAPI; `access.py` is the door itself, and reads the same."""

from collections.abc import Mapping
from typing import Any

from litestar.openapi.spec import SecurityScheme

from gateway.api.same_origin import COOKIE, HEADER
from gateway.auth.scopes import ANY_ADMINISTRATION, is_administration

Requirement = dict[str, list[str]]
"""Schemes that go together, each with the scopes that it needs."""

# Swagger UI puts the cursor into the last of them, which is to be the one that people have at hand.
SCHEMES: Mapping[str, SecurityScheme] = {
    "consoleSession": SecurityScheme(
        type="apiKey",
        name=COOKIE,
        security_scheme_in="cookie",
        description="The session of `POST /console/session`, which counts on the gateway's own pages.",
    ),
    "consolePage": SecurityScheme(
        type="apiKey",
        name=HEADER.title(),
        security_scheme_in="header",
        description="Says, by any value, that the console's session is meant to be used; the id of a key says that "
        "a session of this key is.",
    ),
    "bearer": SecurityScheme(
        type="http",
        scheme="bearer",
        description="An API key, a token of `POST /v1/tokens` on a page that it is for, or a token of an issuer that "
        "the operator trusts. Never together with X-API-Key.",
    ),
    "apiKey": SecurityScheme(
        type="apiKey",
        name="X-API-Key",
        security_scheme_in="header",
        description="An API key. The names beside a scheme are the scopes that it needs to have; "
        f"`{ANY_ADMINISTRATION}` is any that administers.",
    ),
}


def by_key(*scopes: str) -> list[Requirement]:
    """For a route that takes a key, in either of its headers, or a token."""
    return [{"apiKey": [*scopes]}, {"bearer": [*scopes]}]


USUAL = by_key()
"""For every route that says nothing else."""


def security_of(opt: Mapping[str, Any]) -> list[Requirement]:
    """What opens a route with this `opt`, one of the list; an empty list where everybody may enter."""
    if opt.get("public"):
        return []
    scope = str(opt.get("scope", ""))
    if not is_administration(scope):
        return USUAL
    return [*by_key(scope), {"consoleSession": [scope], "consolePage": [scope]}]
