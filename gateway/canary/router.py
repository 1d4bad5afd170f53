"""The routing decision for one request."""

from gateway.catalog import ModelCard
from gateway.domain import ModelVersion, Variant
from gateway.errors import Forbidden, ModelUnavailable, VersionNotFound


class StableRouter:
    """Sends everything to the model's default version, except requests that pin one."""

    def choose(self, card: ModelCard, pinned: str | None, *, may_pin: bool) -> ModelVersion:
        """Raises Forbidden for a pin by a caller who may not, VersionNotFound for one to a version that is not loaded,
        ModelUnavailable where the default version is not.
        """
        if pinned and not may_pin:
            raise Forbidden("Asking for a version needs the scope pin-version.")
        version = pinned or card.default_version
        if version in card.served.versions:
            return ModelVersion(card.name, version, Variant.PINNED if pinned else Variant.STABLE)
        if pinned:
            raise VersionNotFound("This version of the model is not loaded.")
        raise ModelUnavailable("This model cannot be served at the moment.", retry_after=2)
