"""What the data plane is asked and what it answers: requests as it sees them, without HTTP."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gateway.canary import Life, Preference, Source
from gateway.catalog import Card
from gateway.domain import Content, ModelVersion, Principal, Priority, RawTensor
from gateway.errors import InputError
from gateway.schemas import ClassifyOptions, ClassifyResult, DetectOptions, DetectResult
from gateway.telemetry.timeline import Timeline
from gateway.translate.tensors import InferRequest
from gateway.value import value

Options = TypeVar("Options", ClassifyOptions, DetectOptions)
Result = TypeVar("Result", ClassifyResult, DetectResult)


@value
class Request:
    """What every request brings, whatever it asks for.

    `started` is on the monotonic clock and `timeout` what the caller asks for, both in seconds. `preference` and
    `named` are for the router: the caller's wish about a rollout, and the values of headers and cookies. `follow` is
    told of every call to Triton: it may outlast a caller who leaves. `timeline` takes down where the time goes.
    """

    principal: Principal
    priority: Priority
    started: float
    timeout: float | None
    request_id: str
    preference: Preference | None
    named: Callable[[Source, str], str | None]
    follow: Callable[["asyncio.Future[Any]"], None]
    timeline: Timeline


@value
class Call(Request, Generic[Options]):
    """What each input holds, all of them of one kind, or the reason why it holds nothing."""

    inputs: Sequence[Content | InputError]
    options: Options


@value
class TensorCall(Request):
    """Tensors that fit the model of `card`. `version` is the one that the caller pins, if any."""

    card: Card
    version: str | None
    asked: InferRequest


@value
class Answer(Generic[Result]):
    """Who answered, how long that version has to live, and one result or error an input, in the request's order."""

    target: ModelVersion
    life: Life | None
    results: Sequence[Result | InputError]


@dataclass(frozen=True, slots=True)
class TensorStream:
    """Who answers, how long that version has to live, and the outputs of each answer as it comes.

    Iterate once, to the end or not. Raises GatewayError where the call fails on the way.
    """

    target: ModelVersion
    life: Life | None
    answers: AsyncIterable[Sequence[RawTensor]]

    def __aiter__(self) -> AsyncIterator[Sequence[RawTensor]]:
        return aiter(self.answers)


@value
class TensorAnswer:
    """Who answered, how long that version has to live, and the outputs in the order asked for."""

    target: ModelVersion
    life: Life | None
    outputs: Sequence[RawTensor]
