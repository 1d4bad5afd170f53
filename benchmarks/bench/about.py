"""Where figures come from: the machine, and what exactly stood in the field."""

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import testbed
from stack import ROOT, TRITON_PYTHON

from bench.field import Field

_OURS = ("uvicorn", "litestar", "grpcio", "numpy", "pillow", "redis")


def machine() -> dict[str, Any]:
    """Cores, memory, processor and how busy it all was before the load; no names of hosts."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": testbed.machine(),
        "processor": _processor(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": " ".join(
            sys.version.split()
        ),  # with its build: how it was compiled is worth some tens of percent
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(field: Field) -> dict[str, Any]:
    script = "import importlib.metadata as m; print(m.version('nvidia-pytriton'))"
    wheel = subprocess.run([TRITON_PYTHON, "-c", script], capture_output=True, text=True, check=True).stdout
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    return {
        "commit": commit.strip(),
        "gateway": {name: importlib.metadata.version(name) for name in _OURS},
        "triton": f"2.51.0 (nvidia-pytriton {wheel.strip()})",
        "peers": {peer.name: peer.version for peer in field.peers},
        "redis": _redis(field),
        "generators": {"wrk": _wrk(), "Python": sys.version.split()[0]},
    }


def _redis(field: Field) -> str:
    program = psutil.Process(field.stack.redis.popen.pid).exe()
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    words = [word for word in done.stdout.split() if word.startswith("v=")]
    return words[0].removeprefix("v=") if words else "unknown"


def _wrk() -> str:
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).split("[")[0].replace("wrk", "").strip()
