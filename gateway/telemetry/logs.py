"""Log lines with fields: readable on a terminal, JSON elsewhere; the libraries' own lines take the same shape."""

import logging
import sys
from collections.abc import Callable
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor

from gateway.telemetry.lines import Lines

_SHARED: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_READABLE: tuple[Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
)


def _without_blanks(_: object, __: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if value is not None}


def _tells_no_query(record: logging.LogRecord) -> bool:
    """uvicorn writes the whole URL of every WebSocket, query and all; our own line says what there is to say."""
    return '"WebSocket %s"' not in str(record.msg)


def configure_logs(
    *, level: str, style: Literal["auto", "console", "json"], dropped: Callable[[], None]
) -> Lines:
    """Sets up structlog and the standard library's logging for this process; lines go to stderr.

    `dropped` hears of each line that is given up while the result is open.
    """
    readable = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared = (*(_READABLE if readable else _SHARED), _without_blanks)
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
        if readable
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = Lines(sys.stderr.fileno(), dropped)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_tells_no_query)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    return handler
