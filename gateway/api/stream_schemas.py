"""What a stream says: one message a frame, each an answer or a problem."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.schemas import ClassifyResult, DetectResult, Problem, Served


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FrameAnswer(_Message):
    """A frame's result. `frame` counts the frames that came, from 1; `dropped` those thrown away since the last message
    because a newer one was there. `timing` is in milliseconds, by stage, as in Server-Timing."""

    type: Literal["result"] = "result"
    frame: int
    dropped: int
    id: str = Field(description="This frame's request id.")
    model: Served
    result: ClassifyResult | DetectResult
    timing: dict[str, float]


class FrameProblem(_Message):
    """Why a frame has no result or, where `frame` is null, why the stream ends. `retry_after` is in seconds."""

    type: Literal["problem"] = "problem"
    frame: int | None
    dropped: int
    problem: Problem
    retry_after: float | None = None
