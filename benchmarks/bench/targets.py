"""What was to be reached, and whether this run reached it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from bench.figures_of import Run
from bench.peers import NAMES
from bench.sections import HALF_A_CORE, NO_QUOTA, OFF, ON

JSON_CLIENT, GRPC_CLIENT = "client, JSON to Triton HTTP", "client, Triton gRPC"
STAGES = "[performance.md](performance.md) has the stages"
RAW_CALL = 150.0  # us of grpc.aio's raw call on the core that the target for CPU speaks of


@dataclass(frozen=True)
class Target:
    """One line of the table; `reason` is told where it is missed."""

    what: str
    goal: str
    value: float
    shown: str
    met: bool
    reason: str = ""

    @property
    def verdict(self) -> str:
        if math.isnan(self.value):
            return "not measured"
        return "met" if self.met else f"**missed**: {self.reason}" if self.reason else "**missed**"


def targets(run: Run) -> Iterator[Target]:
    yield from _pictures(run)
    yield from _tensors(run)
    yield from _whole(run)


def _ratio(one: float, other: float) -> float:
    """NaN where a turn was too short for the kernel's clock."""
    return one / other if other else math.nan


def _most(what: str, goal: float, value: float, unit: str = "x", reason: str = "") -> Target:
    return Target(what, f"<= {goal:g}{unit}", value, f"{value:.2f}{unit}", value <= goal, reason)


def _least(what: str, goal: float, value: float, unit: str = "x", reason: str = "") -> Target:
    return Target(what, f">= {goal:g}{unit}", value, f"{value:.2f}{unit}", value >= goal, reason)


def _pictures(run: Run) -> Iterator[Target]:
    alone = sorted(run.section("jpeg"), key=int)[:1]
    ours, by_json, by_grpc = (run.row(n, "jpeg", *alone) for n in ("gateway", JSON_CLIENT, GRPC_CLIENT))
    yield _least(
        "`jpeg`: CPU of all processes, JSON client to gateway",
        25,
        _ratio(by_json.cpu(), ours.cpu()),
        reason="decoding and resizing are most of it, and [performance.md](performance.md) has the rest",
    )
    yield _most(
        "`jpeg`: CPU of all processes, gateway to gRPC client",
        1.1,
        _ratio(ours.cpu(), by_grpc.cpu()),
        reason="HTTP, quotas and the log come on top of the same decoding",
    )
    for many in sorted(run.section("jpeg"), key=int):
        faster = _ratio(run.row("gateway", "jpeg", many).p50, run.row(JSON_CLIENT, "jpeg", many).p50)
        yield _most(f"`jpeg`: p50 to that of the JSON client, {many} in flight", 1, faster)
    ours, theirs = run.row(ON, "json"), run.row("Triton HTTP", "json")
    yield _most(
        "`json-tensor`: p50 to that of Triton's JSON front end",
        0.4,
        _ratio(ours.p50, theirs.p50),
        reason=STAGES,
    )
    slow = run.row("gRPC, float", "transport").p50
    best = min(run.row(n, "transport").p50 for n in ("gRPC, uint8", "system shared memory, float"))
    yield _least(
        "`detect`: transport, float over gRPC to the better of uint8 and shared memory",
        2.5,
        _ratio(slow, best),
    )


def _tensors(run: Run) -> Iterator[Target]:
    scale = _ratio(RAW_CALL, run.row("raw", "calibration").cpu("client"))
    yield _most(
        f"`tensor`: CPU of the gateway, scaled to a core with grpc.aio's raw call at {RAW_CALL:.0f} us",
        450,
        run.row(ON, "tensor").cpu("server") * scale,
        " us",
        STAGES,
    )
    peers = [row.rate for name, row in run.rows("tensor").items() if name in NAMES]
    fastest = max(peers, default=math.nan)
    ours = run.row(f"{ON}, JSON", "tensor").rate
    yield _least(
        "`tensor`: requests a second to the best Python peer, JSON, 16 in flight",
        2,
        _ratio(ours, fastest),
        reason=STAGES,
    )
    for share in ("p50", "p99"):
        added = getattr(run.row(ON, "added", "rows"), share) - getattr(
            run.row("Triton gRPC", "added", "rows"), share
        )
        yield _most(
            f"`tensor`: added to Triton's gRPC at half of saturation, {share}",
            1 if share == "p50" else 3,
            added,
            " ms",
            "one process at half load: a request waits for those before it",
        )


def _whole(run: Run) -> Iterator[Target]:
    for work, goal in (("tensor", 1.4), ("jpeg", 1.1)):
        on, off = (run.row(name, "everything", work).cpu("server") for name in (ON, OFF))
        yield _most(
            f"everything on, CPU of the gateway to all off, `{work}`", goal, _ratio(on, off), reason=STAGES
        )
    yield from _workers(run)
    sizes = run.section("memory").get("megabytes", [math.nan])
    count = run.section("memory").get("requests", 0)
    yield _most(
        f"memory of a worker after {count:,} requests",
        150,
        sizes[-1],
        " MB",
        "all resident pages count, those that workers share too",
    )
    settled = sizes[len(sizes) // 2]
    yield _most("its growth over the second half of them", 5, sizes[-1] - settled, " MB")
    found = run.section("batches")
    theirs = found.get("perf_analyzer", found.get("Triton gRPC", math.nan))
    yield _least(
        "mean batch at 64 in flight, to that of gRPC straight",
        0.9,
        _ratio(found.get("gateway", math.nan), theirs),
    )


def _workers(run: Run) -> Iterator[Target]:
    """The goal holds until the cores are full, so how full they are is said beside it."""
    for quota in (HALF_A_CORE, NO_QUOTA):
        two, one = (run.row(str(count), "workers", quota) for count in (2, 1))
        yield _least(
            f"2 workers to 1 on `jpeg`, {quota}",
            1.8,
            _ratio(two.rate, one.rate),
            reason=f"the cores are full: with Triton and the generator {one.cores():.2f} and {two.cores():.2f} in use",
        )
