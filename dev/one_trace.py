"""`make trace`: one request through the whole stack, printed as the trace that arrived at the collector."""

import re
import sys
from collections.abc import Sequence

from processes import running_stack
from receiver import Received, receiving
from stack import ROOT

_SAMPLE = ROOT / "clients" / "samples" / "digit.png"
_CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"  # as if a page had begun the trace
_TRITONS_LAST = "compute"
_SHOWN = re.compile(r"(http|rpc|gateway|triton|error)\..*")


def main() -> int:
    with receiving() as receiver, running_stack(None, receiver.url, trace_endpoint=receiver.url) as stack:
        with stack.client() as client:
            headers = {"content-type": "image/png"}
            client.post(
                "/v1/classify", content=_SAMPLE.read_bytes(), headers=headers
            )  # the first one warms up
            trace_id, span_id = _CALLER
            headers["traceparent"] = f"00-{trace_id}-{span_id}-01"
            client.post("/v1/classify", content=_SAMPLE.read_bytes(), headers=headers).raise_for_status()
        spans = receiver.wait_for(trace_id, complete)
    print(drawn(spans, span_id))
    return 0


def complete(spans: Sequence[Received]) -> bool:
    """Whether the gateway's spans have come, and Triton's."""
    return {_TRITONS_LAST, "post"} <= {span.name for span in spans}


def drawn(spans: Sequence[Received], parent_id: str) -> str:
    """The spans below this one as a tree, with milliseconds since the first began, and how long each took."""
    begin = min(span.start for span in spans)
    lines = []
    for span, depth in _walked(spans, parent_id, 0):
        name = f"{'  ' * depth}{span.name}"
        since, took = (span.start - begin) / 1e6, (span.end - span.start) / 1e6
        lines.append(f"{name:<52} {since:6.2f} {took:6.2f}  {span.kind:<8} {span.service}")
        lines += [
            f"{'  ' * depth}    {key}={value}" for key, value in span.attributes.items() if _SHOWN.match(key)
        ]
    return "\n".join([f"{'':<52} {'at ms':>6} {'took':>6}", *lines])


def _walked(spans: Sequence[Received], parent_id: str, depth: int) -> list[tuple[Received, int]]:
    found = []
    for span in spans:
        if span.parent_id == parent_id:
            found += [(span, depth), *_walked(spans, span.span_id, depth + 1)]
    return found


if __name__ == "__main__":
    sys.exit(main())
