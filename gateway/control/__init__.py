"""Which models Triton has loaded: looked at, loaded, unloaded, and healed where a model's process died."""

from gateway.control.healer import Healer, Turns
from gateway.control.models import ModelControl, ModelState, VersionState

__all__ = ["Healer", "ModelControl", "ModelState", "Turns", "VersionState"]
