"""The words that every layer shares: frozen values without I/O, HTTP or gRPC."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class Variant(StrEnum):
    """Why this version answers."""

    STABLE = "stable"
    PINNED = "pinned"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One loaded version of one model, and why it was chosen."""

    model: str
    version: str
    variant: Variant


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor as the model declares it.

    `shape` leaves the batch dimension out where the model batches; -1 stands for any size.
    `datatype` is Triton's name for it, such as "FP32".
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array as it travels; `data` has the batch dimension first where the model batches."""

    name: str
    data: Array


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as Triton serves it at this moment.

    `versions` holds only those that are ready, in ascending order. `max_batch_size` 0 means that the
    model does not batch. `parameters` are the strings of the model's configuration.
    """

    name: str
    versions: tuple[str, ...]
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock, in seconds, by which the caller must have an answer."""

    at: float

    def remaining(self, now: float) -> float:
        """Seconds left at `now`; negative once it has passed."""
        return self.at - now
