"""What a credential allows: the words for it, and the questions that handlers ask. What is not granted is denied."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from gateway.domain import Principal
from gateway.errors import Forbidden

INFER = "infer"
PIN_VERSION = "pin-version"
ADMIN_CANARY = "admin:canary"
ADMIN_MODELS = "admin:models"
ADMIN_KEYS = "admin:keys"
ANY_ADMINISTRATION = "admin:*"  # to be asked for, never granted

_FIXED = frozenset({INFER, PIN_VERSION, ADMIN_CANARY, ADMIN_MODELS, ADMIN_KEYS})
_ONE_MODEL = f"{INFER}:"
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_model_name(text: str) -> bool:
    """Whether a model could have this name; it says nothing about whether one does."""
    return _MODEL_NAME.fullmatch(text) is not None


def is_scope(text: str) -> bool:
    """One of the fixed scopes, or `infer:<model>`."""
    return text in _FIXED or (text.startswith(_ONE_MODEL) and is_model_name(text.removeprefix(_ONE_MODEL)))


def is_inference(scope: str) -> bool:
    """`infer`, or `infer:<model>`."""
    return scope == INFER or scope.startswith(_ONE_MODEL)


def is_administration(scope: str) -> bool:
    """Whether its holder changes what others may do, or what answers them."""
    return scope.startswith("admin:")


def covers(held: AbstractSet[str], wanted: str) -> bool:
    """Whether `held` includes `wanted`: by name, or because `infer` includes every `infer:<model>`, or any `admin:` one
    will do.
    """
    if wanted == ANY_ADMINISTRATION:
        return any(map(is_administration, held))
    return wanted in held or (wanted.startswith(_ONE_MODEL) and INFER in held)


def has_scope(principal: Principal, scope: str) -> bool:
    """Whether the caller holds `scope`."""
    return covers(principal.scopes, scope)


def is_listed(principal: Principal, model: str) -> bool:
    """Whether the caller's allow-list of models, where there is one, names `model`."""
    return principal.models is None or model in principal.models


def may_use(principal: Principal, model: str) -> bool:
    """Whether the caller may use `model`: a scope grants it, and the allow-list, where there is one, names it."""
    return is_listed(principal, model) and covers(principal.scopes, _ONE_MODEL + model)


def require_scope(principal: Principal, scope: str) -> None:
    """Raises Forbidden where the caller does not hold `scope`."""
    if not has_scope(principal, scope):
        raise Forbidden(f"This needs the scope {scope}.")


def require_giving(principal: Principal, scopes: Iterable[str], models: frozenset[str] | None) -> None:
    """Raises Forbidden, with its name, for a right that the caller would give, or take from who administers, and does
    not hold itself.
    """
    missing = sorted(scope for scope in scopes if not has_scope(principal, scope))
    if missing:
        raise Forbidden(
            f"You can give or take only what you hold; you do not hold the scope {', '.join(missing)}."
        )
    if principal.models is not None and (models is None or models - principal.models):
        raise Forbidden("You can give or take only what you hold; you may not use all of these models.")


def require_inference(principal: Principal) -> None:
    """Raises Forbidden where the caller may not use any model. For one model ask `may_use`, and answer as if absent."""
    if not any(is_inference(scope) for scope in principal.scopes):
        raise Forbidden(f"This needs the scope {INFER}.")
