"""`make accuracy`: the demo models on samples that nobody trained on, offline and through a running gateway."""

import os
import subprocess
import sys

from processes import running_stack
from stack import ROOT

if __name__ == "__main__":
    with running_stack() as parts:
        command = [sys.executable, str(ROOT / "triton" / "export" / "evaluate.py"), "--url", parts.url]
        environment = {**os.environ, "GATEWAY_KEY": parts.key}
        sys.exit(subprocess.run(command, env=environment, check=False).returncode)
