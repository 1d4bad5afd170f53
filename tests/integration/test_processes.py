"""What a command started for a while ends with it, however it ends."""

import signal
import subprocess
import sys

import psutil
import pytest
from stack import ROOT

# Tests that run in the background have children who ignore SIGINT.
COMMAND = """
import signal, time
from processes import running
from stack import Part
signal.signal(signal.SIGINT, signal.default_int_handler)
with running(Part("sleeper", ["sleep", "600"], {})) as sleeper:
    print(sleeper.popen.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_told_to_end_leaves_nothing_behind(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND],
        env={"PYTHONPATH": str(ROOT / "dev"), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        sleeper = int(process.stdout.readline())
        process.send_signal(how)
        assert process.wait(10) != 0
        assert not psutil.pid_exists(sleeper)
