"""docs/benchmarks.md and its plots, from the results of a run."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from figures import table

from bench.figures_of import Row, Run
from bench.plots import bars
from bench.targets import targets

_HEAD = """# Benchmarks

`make bench` wrote this page on {date}, at commit {commit}, in {minutes:.0f} minutes.
{machine}.
{processor}, {kernel}, Python {python}.

All contestants stand in front of one Triton {triton} with near-empty networks, take their
turns (A B C A B C …), and every figure is the median of {rounds}. The CPU time of each process is read from
`/proc`, in steps of 10 ms; that of the load generator is in the column `client`. It shares the cores with everything
else, so rates are those of this machine with the generator on it, and ratios between contestants are what to look at.
How a request's microseconds come about: [performance.md](performance.md). The same pictures on the true ResNet-50 and
YOLOv8n: [models.md](models.md#resnet-50-yolov8-bert).
"""

_VERSIONS = """## Contestants

{lines}

Peers run in one process, with their default settings, each from `requirements/bench-<name>.txt`; LitServe has four
workers, since its `predict` waits. They forward to that Triton over gRPC
([`benchmarks/peers/`](../benchmarks/peers)); nginx, the floor, is a plain proxy of its HTTP with one worker.

The gateway has one worker. "Everything on" is authentication, two buckets in Redis, priority, admission, a canary with
10 % of the callers, metrics, a log line a request and 1 % of the traces. "All off" is
[`open_door.py`](../benchmarks/open_door.py), composed from the gateway's own parts without these.
"""

Say = Callable[[str], None]


def write(results: Mapping[str, Any], path: Path) -> None:
    """Writes the page, and its plots beside it in images/."""
    run = Run(results)
    lines: list[str] = []
    _head(run, lines.append)
    _targets(run, lines.append)
    for part in (
        _tensor,
        _added,
        _json,
        _jpeg,
        _detect,
        _everything,
        _workers,
        _batches,
        _memory,
        _calibration,
    ):
        part(run, lines.append)
    _versions(run, lines.append)
    _missing(run, lines.append)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    _plots(run, path.parent / "images")


def _head(run: Run, say: Say) -> None:
    about = run.results["about"]
    rounds = max((len(row.turns) for row in run.rows("tensor").values()), default=0)
    machine = about["machine"][:1].upper() + about["machine"][1:]
    facts = {**about, "machine": machine, "minutes": run.results["seconds"] / 60, "rounds": rounds}
    say(_HEAD.format(**facts))


def _targets(run: Run, say: Say) -> None:
    say("## Targets")
    row = table("All of them", ["what", "goal", "here", "verdict"], say=say)
    for target in targets(run):
        row(target.what, target.goal, target.shown, target.verdict)


def _whole_table(title: str, rows: Mapping[str, Row], say: Say) -> None:
    columns = ["", "requests/s", "p50", "p99", "CPU us: server", "Triton", "Redis", "client", "all"]
    row = table(title, columns, say=say)
    for name, figures in rows.items():
        each = [f"{figures.cpu(part):.0f}" for part in ("server", "triton", "redis", "client")]
        latencies = (f"{figures.p50:.2f} ms", f"{figures.p99:.2f} ms")
        row(name, f"{figures.rate:.0f}", *latencies, *each, f"{figures.cpu():.0f}")


def _tensor(run: Run, say: Say) -> None:
    say("\n## `tensor`: 64 floats there and back")
    say("\nJSON where nothing else is said of a peer; the gateway and Triton in the binary extension too.")
    say("\n![Requests a second](images/bench-tensor-rate.png)\n\n![CPU](images/bench-tensor-cpu.png)")
    _whole_table(
        "16 in flight, by wrk (Triton gRPC: by grpc.aio, which reaches its own limit first)",
        run.rows("tensor"),
        say,
    )
    _whole_table("100 requests a second, in an open loop", run.rows("paced"), say)


def _added(run: Run, say: Say) -> None:
    rate = run.section("added").get("rate", 0.0)
    _whole_table(
        f"Half of the gateway's saturation: {rate:.0f} requests a second", run.rows("added", "rows"), say
    )


def _json(run: Run, say: Say) -> None:
    say("\n## `json-tensor`: 1x3x224x224 floats as JSON")
    _whole_table("One in flight", run.rows("json"), say)


def _jpeg(run: Run, say: Say) -> None:
    say("\n## `jpeg`: a photograph of 640 x 480 to five of 1,000 labels")
    say("\nFloat networks unless it says uint8. Clients run their requests in threads of one process.")
    say("\n![CPU a picture](images/bench-jpeg-cpu.png)")
    for many in sorted(run.section("jpeg"), key=int):
        _whole_table(f"{many} in flight", run.rows("jpeg", many), say)


def _detect(run: Run, say: Say) -> None:
    say("\n## `detect`: a scene of 1280 x 720 to boxes, with YOLOv8n's shapes")
    _whole_table("Decoding and suppression included, one in flight", run.rows("detect"), say)
    _whole_table("The tensors alone, straight into Triton", run.rows("transport"), say)


def _everything(run: Run, say: Say) -> None:
    say("\n## Everything on")
    for work in run.section("everything"):
        _whole_table(f"`{work}`", run.rows("everything", work), say)


def _workers(run: Run, say: Say) -> None:
    say("\n## Workers")
    say(
        "\nBy their number; the quota is what a container's limit sets, and leaves cores for everything else."
    )
    for quota in run.section("workers"):
        _whole_table(f"`jpeg`, 16 in flight, {quota}", run.rows("workers", quota), say)


def _batches(run: Run, say: Say) -> None:
    say("\n## Batches")
    row = table(
        "Images a batch, 64 in flight, of a model that takes 40 ms and 2 ms an image, 8 at most",
        ["", "mean batch"],
        say=say,
    )
    for name, size in run.section("batches").items():
        row(name, f"{size:.2f}")


def _memory(run: Run, say: Say) -> None:
    found = run.section("memory")
    say("\n## Memory")
    sizes = found.get("megabytes", [])
    row = table(
        f"Resident MB of the worker, over {found.get('requests', 0):,} tensors",
        ["share of the requests", "MB"],
        say=say,
    )
    for number, size in enumerate(sizes):
        row(f"{number / max(1, len(sizes) - 1):.0%}", f"{size:.0f}")


def _calibration(run: Run, say: Say) -> None:
    say("\n## What a call to Triton costs on this core")
    _whole_table(
        "grpc.aio, 16 in flight: bytes, the protobuf stub, tritonclient", run.rows("calibration"), say
    )


def _versions(run: Run, say: Say) -> None:
    about = run.results["about"]
    ours = ", ".join(f"{name} {version}" for name, version in about["gateway"].items())
    lines = [
        f"- gateway: {about['commit']}, with {ours}",
        f"- Triton {about['triton']}",
        f"- Redis {about['redis']}",
    ]
    lines += [f"- {name} {version}" for name, version in about["peers"].items()]
    lines += [f"- generators: {', '.join(f'{n} {v}' for n, v in about['generators'].items())}"]
    say("\n" + _VERSIONS.format(lines="\n".join(lines)))


def _missing(run: Run, say: Say) -> None:
    if not run.results["failures"]:
        return
    say("## Not measured\n")
    for name, reason in run.results["failures"].items():
        say(f"- {name}: {' '.join(reason.split())[:200]}")


def _plots(run: Run, folder: Path) -> None:
    rate = {name: {"rate": row.rate} for name, row in _fastest_first(run.rows("tensor").items())}
    bars(folder / "bench-tensor-rate.png", "64 floats, 16 in flight", "/s", rate, ["rate"])
    cpu = {name: _parts(row, 1) for name, row in run.rows("tensor").items()}
    parts = ["server", "triton", "redis", "client"]
    bars(folder / "bench-tensor-cpu.png", "64 floats: CPU a request", "us", cpu, parts)
    most = max((run.rows("jpeg", many) for many in run.section("jpeg")), key=len, default={})
    cpu = {name: _parts(row, 1000) for name, row in most.items()}
    bars(folder / "bench-jpeg-cpu.png", "JPEG to labels: CPU a picture", "ms", cpu, parts)


def _fastest_first(rows: Iterable[tuple[str, Row]]) -> list[tuple[str, Row]]:
    return sorted(rows, key=lambda item: -item[1].rate)


def _parts(row: Row, divisor: float) -> dict[str, float]:
    return {part: row.cpu(part) / divisor for part in ("server", "triton", "redis", "client")}
