"""Imported for its effect, before all else that serves: it leaves out what would be loaded and never used."""

import sys

# Libraries load them if they are there: structlog and httpx rich and pygments, for tracebacks and progress bars that a
# server shows nobody, structlog greenlet and OpenTelemetry psutil, which only developers have. It is 5 MB of each
# worker. None makes an import fail as if nothing were installed.
for _unused in ("greenlet", "psutil", "pygments", "rich"):
    sys.modules.setdefault(_unused, None)  # type: ignore[arg-type]
