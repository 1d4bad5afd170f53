"""Programs that no Python package carries: found on PATH, or installed by the system's own package manager.

`python dev/system_packages.py chromium promtool` is done at once where both are there.
"""

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "chromium": "chromium",
    "promtool": "prometheus",
    "wrk": "wrk",
    "nginx": "nginx-light",
}  # the program, and Debian's package with it


def main(programs: list[str]) -> int:
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return 0
    packages = " ".join(sorted({PACKAGES[program] for program in missing}))
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        print(
            f"Not found: {', '.join(missing)}. Install them, on Debian with: apt-get install {packages}",
            file=sys.stderr,
        )
        return 1
    print(f"installing {packages}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages.split()]
    for command in (["apt-get", "update", "--quiet"], install):
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
