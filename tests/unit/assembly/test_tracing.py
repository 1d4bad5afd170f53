"""Whom a call's span names."""

import time

import pytest
from receiver import receiving

from gateway.assembly.part import opened
from gateway.assembly.tracing import tracing
from gateway.domain import ModelVersion, Variant
from gateway.settings import Settings
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.requests import Finished
from gateway.telemetry.timeline import Timeline
from gateway.telemetry.trace import Kept, Trace
from gateway.telemetry.tracing import Traced


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("triton:8001", ("triton", 8001)),
        ("dns:///triton:8001", ("triton", 8001)),
        ("one:8001,two:8001", (None, None)),
    ],
    ids=["one", "one name for many", "one of several"],
)
async def test_a_call_names_the_server_where_there_is_one(
    written: str, named: tuple[str | None, int | None]
) -> None:
    timeline = Timeline(time.monotonic)
    with timeline.call(ModelVersion("pets", "1", Variant.STABLE)):
        pass
    finished = Finished("/v1/classify", 200, None, None, 0.1, timeline)
    trace = Trace(f"{1:032x}", 2, 0, sampled=True, kept=Kept.SAMPLED)
    with receiving() as receiver:
        settings = {"key_pepper": "p" * 32, "token_secret": "t" * 32, "triton_url": written}
        traces = tracing(Settings.model_validate({**settings, "trace_endpoint": receiver.url}), Metrics())
        async with opened([traces.part], lambda *_: None):
            assert traces.tracer is not None
            traces.tracer.over(Traced(trace, finished, "POST", "http", "r-1", time.monotonic()))
        (call,) = (span for span in receiver.spans if span.kind == "client")
    assert (call.attributes.get("server.address"), call.attributes.get("server.port")) == named
