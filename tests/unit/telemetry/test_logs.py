"""Lines as a process writes them, ours and the libraries'."""

import json
import subprocess
import sys

SCRIPT = """
import logging, structlog
from gateway.telemetry.logs import configure_logs
configure_logs(level="info", style={style!r}, dropped=lambda: None)
log = structlog.stdlib.get_logger("gateway.test")
secret = "planted"
log.debug("too small")
log.info("half a pair", text="\\ud800", big=1 << 70, nothing=None)
logging.getLogger("library").warning("of %s", "another")
try:
    raise ValueError("broken")
except ValueError:
    log.exception("caught")
"""


def written(style: str) -> str:
    script = [sys.executable, "-c", SCRIPT.format(style=style)]
    return subprocess.run(script, capture_output=True, text=True, check=True).stderr


def test_every_line_is_json_with_its_logger_and_level_whoever_wrote_it() -> None:
    ours, theirs, caught = map(json.loads, written("json").splitlines())
    assert (ours["event"], ours["logger"], ours["level"]) == ("half a pair", "gateway.test", "info")
    assert (ours["text"], ours["big"]) == ("\ud800", 1 << 70)
    assert "nothing" not in ours
    assert (theirs["event"], theirs["logger"], theirs["level"]) == ("of another", "library", "warning")
    assert "ValueError: broken" in caught["exception"]


def test_a_terminal_gets_a_traceback_without_what_the_variables_hold() -> None:
    text = written("console")
    assert "half a pair" in text
    assert "ValueError: broken" in text
    assert "planted" not in text.replace('secret = "planted"', "")
    assert "too small" not in text
