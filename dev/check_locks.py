"""Are the requirements files what their sources resolve to? `--write` makes them so.

The check keeps the versions that are locked wherever they still satisfy the sources, so it fails only when a
source has changed, not when somebody has published a release.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {
    "requirements/uv.txt": ["requirements/uv.in"],
    "requirements/build.txt": ["requirements/build.in"],
    "requirements/gateway.txt": ["pyproject.toml"],
    "requirements/dev.txt": ["pyproject.toml", "--extra=dev", "--constraint=requirements/gateway.txt"],
    "triton/requirements.txt": ["triton/launch.py"],
    **{
        f"requirements/bench-{name}.txt": [f"requirements/bench-{name}.in"]
        for name in ("bentoml", "kserve", "litserve", "mlserver")
    },
}
FLAGS = ["--universal", "--generate-hashes", "--no-header", "--no-emit-index-url", "--quiet"]


def main(uv: str, *, write: bool) -> int:
    stale = [lock for lock, sources in LOCKS.items() if not _resolve(uv, lock, sources, write=write)]
    if stale and not write:
        print(f"out of date: {', '.join(stale)}. Run `make lock`.", file=sys.stderr)
    return 1 if stale and not write else 0


def _resolve(uv: str, lock: str, sources: list[str], *, write: bool) -> bool:
    """Whether the file already is what its sources resolve to."""
    path = ROOT / lock
    before = path.read_text() if path.exists() else ""
    with tempfile.TemporaryDirectory() as folder:
        target = path if write else Path(folder) / path.name
        target.write_text(before)
        subprocess.run([uv, "pip", "compile", *FLAGS, *sources, "-o", str(target)], cwd=ROOT, check=True)
        return target.read_text() == before


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], write="--write" in sys.argv[2:]))
