"""The whole path of a request between HTTP and Triton, without HTTP."""

from gateway.dataplane.dataplane import DataPlane
from gateway.dataplane.deadlines import Deadlines
from gateway.dataplane.job import Lane

__all__ = ["DataPlane", "Deadlines", "Lane"]
