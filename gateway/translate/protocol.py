"""The JSON of an inference request in the Open Inference Protocol, as pydantic models with the bounds that we set.

Fields that nobody knows are ignored, as Triton ignores them; what would reach into the server is refused by name:
shared memory, sequences, and the parameters that Triton keeps for itself.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WrapValidator, model_validator

from gateway.domain import Parameter

MAX_CLASSES = 10_000

_Name = Annotated[str, Field(min_length=1, max_length=1024)]
_Dimension = Annotated[int, Field(ge=1, lt=2**31)]
_Value = (
    bool
    | Annotated[int, Field(ge=-(2**63), lt=2**63)]
    | Annotated[float, Field(allow_inf_nan=False)]
    | Annotated[str, Field(max_length=4096)]
)
# A list, or the array that it was read into at once.
_Elements = Annotated[
    list[Any], WrapValidator(lambda value, listed: value if isinstance(value, np.ndarray) else listed(value))
]
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
_MAX_PARAMETERS, _MAX_KEY = 32, 128
_TOO_MANY = f"at most {_MAX_PARAMETERS} parameters, with names of {_MAX_KEY} characters"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _TensorParameters(_Part):
    shared_memory_region: Any = None

    @model_validator(mode="after")
    def _no_shared_memory(self) -> Self:
        if self.shared_memory_region is not None:
            raise ValueError("shared memory is not served: send the bytes")
        return self


class InputParameters(_TensorParameters):
    binary_data_size: Annotated[int, Field(ge=0)] | None = None


class OutputParameters(_TensorParameters):
    binary_data: bool | None = None
    classification: Annotated[int, Field(ge=0, le=MAX_CLASSES)] = 0


# Clients whose optional fields serialise as null say so of a tensor's; of a request's Triton refuses it as well.
_NullIsNone = BeforeValidator(lambda value: {} if value is None else value)


class TensorInput(_Part):
    name: _Name
    datatype: Annotated[str, Field(max_length=16)]
    shape: Annotated[list[_Dimension], Field(max_length=16)]
    parameters: Annotated[InputParameters, _NullIsNone] = InputParameters()
    data: _Elements | None = None


class TensorOutput(_Part):
    name: _Name
    parameters: Annotated[OutputParameters, _NullIsNone] = OutputParameters()


class InferParameters(BaseModel):
    """`priority` is Triton's level, 0 for none; `timeout` is in microseconds; the others are the model's own."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, _Value]

    priority: Annotated[int, Field(ge=0, lt=2**32)] = 0
    timeout: Annotated[int, Field(ge=0, lt=2**63)] = 0
    binary_data_output: bool = False

    @property
    def for_the_model(self) -> Mapping[str, Parameter]:
        """What goes on to the model's own code; never what Triton would take for itself."""
        return {key: value for key, value in self.__pydantic_extra__.items() if key not in _SEQUENCE}

    @model_validator(mode="before")
    @classmethod
    def _within_bounds(cls, value: object) -> object:
        """Before each of them is looked at, and a whole number becomes the float next to it."""
        if not isinstance(value, dict):
            return value
        if len(value) > _MAX_PARAMETERS + len(cls.model_fields):
            raise ValueError(_TOO_MANY)
        if any(isinstance(each, int) and not -(2**63) <= each < 2**63 for each in value.values()):
            raise ValueError("whole numbers of at most 64 bits, with a sign")
        return value

    @model_validator(mode="after")
    def _safe_to_forward(self) -> Self:
        extra = self.__pydantic_extra__
        if not extra:
            return self
        if any(extra.get(key) for key in _SEQUENCE):
            raise ValueError("sequences are not served: nothing keeps one caller on one instance")
        if any(key == "headers" or key.startswith("triton_") for key in extra):
            raise ValueError("headers and triton_… are Triton's own parameters")
        if len(extra) > _MAX_PARAMETERS or any(len(key) > _MAX_KEY for key in extra):
            raise ValueError(_TOO_MANY)
        return self


class GenerateRequest(_Part):
    """What stands beside the inputs."""

    id: Annotated[str, Field(max_length=256)] = ""
    parameters: InferParameters = InferParameters()


class InferenceRequest(_Part):
    id: Annotated[str, Field(max_length=256)] = ""
    parameters: InferParameters = InferParameters()
    inputs: Annotated[list[TensorInput], Field(max_length=256)]
    outputs: Annotated[list[TensorOutput], Field(max_length=256)] | None = None
