"""The words that every layer shares: frozen values without I/O, HTTP or gRPC."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from gateway.value import value

Array = NDArray[np.generic]
Buffer = bytes | memoryview
Parameter = str | int | float | bool

_ORIGIN = re.compile(
    r"(https?)://(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?"
)
_LEFT_OUT = {("http", 80), ("https", 443)}

Content = bytes | str
"""What one input of a request holds: an image as a file's bytes, or a text."""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """Where an image is to be fetched from, as the caller wrote it."""

    text: str


class Variant(StrEnum):
    """Why this version answers."""

    STABLE = "stable"
    CANARY = "canary"
    PINNED = "pinned"
    SHADOW = "shadow"  # it answers nobody: its answer is only compared


@value
class ModelVersion:
    """One loaded version of one model, and why it was chosen."""

    model: str
    version: str
    variant: Variant


class Priority(IntEnum):
    """How urgent a request is, as Triton's priority level: 1 goes first."""

    INTERACTIVE = 1
    STANDARD = 2
    BATCH = 3


@dataclass(frozen=True, slots=True)
class Quota:
    """`limit` units a `period` (seconds), of which `burst` may come at once."""

    limit: int
    period: float
    burst: int


@dataclass(frozen=True, slots=True)
class Tier:
    """What a class of callers may use.

    `key` bounds one key, `tenant` all keys of an owner together, `daily` counts units a day (None: no bound),
    `in_flight` the requests of one key at once. `priority` is the class of a request that asks for none.
    `fail_open` says whether requests pass, under a local share of the quota, while the limits' store is away.
    A `shadow` tier counts and never refuses.
    """

    name: str
    key: Quota
    tenant: Quota
    daily: int | None
    in_flight: int
    priority: Priority
    fail_open: bool = True
    shadow: bool = False


@value
class Principal:
    """Who calls, and what they may do.

    `id` names the key, token or subject; `tenant` its owner. `models` None means every model. `quota` overrides the
    tier's bound on the key. `origins` None means that any page may use the credential. `expires_at` is in seconds
    since the epoch. `secret_id` tells by which of its secrets a key came, `session` names the console's session that
    the caller came by, if one did.
    """

    id: str
    tenant: str
    scopes: frozenset[str]
    models: frozenset[str] | None
    tier: str
    priority_ceiling: Priority
    quota: Quota | None = None
    origins: frozenset[str] | None = None
    expires_at: float | None = None
    secret_id: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor as the model declares it.

    `shape` leaves the batch dimension out where the model batches; -1 stands for any size.
    `datatype` is Triton's name for it, such as "FP32".
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array as it travels; `data` has the batch dimension first where the model batches."""

    name: str
    data: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape


@value
class RawTensor:
    """A tensor as the bytes that travel: little-endian, row-major, each element of BYTES behind its length.

    `shape` has the batch dimension first where the model batches.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer


@value
class WantedOutput:
    """An output that a caller asks for by name; with `classes` above 0, its best classes as Triton's strings."""

    name: str
    classes: int = 0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as Triton serves it at this moment.

    `versions` holds only those that are ready, in ascending order. `max_batch_size` 0 means that the
    model does not batch. `instances` run at the same time. `version_policy` is
    Triton's, as text such as "latest 1". `parameters` are the strings of the model's configuration. A
    `decoupled` model answers a call any number of times, one with `sequences` only those that say which they belong to;
    `steps` are the models that an ensemble is made of.
    """

    name: str
    versions: tuple[str, ...]
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    instances: int = 1
    version_policy: str = ""
    decoupled: bool = False
    sequences: bool = False
    steps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WantedConfig:
    """A model's configuration as it shall be: whole, as JSON, and what would be served by it, without its versions."""

    text: str
    served: ServedModel


@dataclass(frozen=True, slots=True)
class RepositoryEntry:
    """A version as Triton's index has it; `version` is empty for a model of which none was ever loaded.

    `state` is Triton's, such as READY, LOADING, UNLOADING or UNAVAILABLE; `reason` is a line, or empty. `endpoint` is
    where, host:port.
    """

    model: str
    version: str
    state: str
    reason: str
    endpoint: str = ""

    @property
    def is_unloaded(self) -> bool:
        """Whether it was loaded and somebody had it unloaded, which is no failure."""
        return self.reason == "unloaded"


@value
class Deadline:
    """A point on the monotonic clock, in seconds, by which the caller must have an answer."""

    at: float

    def remaining(self, now: float) -> float:
        """Seconds left at `now`; negative once it has passed."""
        return self.at - now


def is_origin(text: str) -> bool:
    """Whether it is the origin of a page as browsers write it: scheme, host in lower case and, where it is not the
    scheme's own, a port.
    """
    found = _ORIGIN.fullmatch(text)
    if found is None or found[2] is None:
        return found is not None
    port = int(found[2])
    return port <= 65_535 and (found[1], port) not in _LEFT_OUT


def is_ample(seconds: float, usual: float) -> bool:
    """Whether running out of time says something of a model: the call had half of the usual seconds or more."""
    return seconds >= usual / 2


@value
class InferCall:
    """One call to Triton.

    Both in seconds: `usual` is what requests to this model have by default, `typical` the median latency of its calls
    (0 where it is not known). `outputs` None asks for all that the model has. `parameters` are the caller's own, for
    the model's code to read. `traceparent` (W3C) is what Triton's own spans join, None where nothing is traced.
    """

    target: ModelVersion
    model: ServedModel
    inputs: Sequence[Tensor | RawTensor]
    deadline: Deadline
    priority: Priority
    request_id: str
    usual: float
    typical: float = 0.0
    outputs: Sequence[WantedOutput] | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    traceparent: str | None = None

    @property
    def wanted(self) -> Sequence[WantedOutput]:
        """The outputs that the answer must have, in this order."""
        if self.outputs is None:
            return [WantedOutput(spec.name) for spec in self.model.outputs]
        return self.outputs
