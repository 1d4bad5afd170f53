"""Imported for its effect, before all else that serves: it leaves out what would be loaded and never used."""

import sys

# structlog and httpx load it, if it is there, for tracebacks and progress bars that a server shows nobody: 3 MB of each
# worker. None makes an import of it fail as if it were not installed.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
