"""Log lines with fields: readable on a terminal, JSON elsewhere; the libraries' own lines take the same shape."""

import contextlib
import functools
import json
import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from types import MappingProxyType, TracebackType
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, Processor

from gateway.telemetry.lines import Lines

_NOTHING: Mapping[str, str | None] = MappingProxyType({})
_ids: ContextVar[Mapping[str, str | None]] = ContextVar("ids", default=_NOTHING)


class Named:
    """`with Named(request_id=…):` every line of the block, and of what is started in it, has these fields too.

    One variable, where structlog has one a field and looks through all that there are for each line.
    """

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: str | None) -> None:
        self._fields = fields
        self._token: Token[Mapping[str, str | None]]

    def __enter__(self) -> None:
        self._token = _ids.set(self._fields)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _ids.reset(self._token)


def _with_ids(_: object, __: str, event: EventDict) -> EventDict:
    for name, value in _ids.get().items():
        event.setdefault(name, value)
    return event


_SHARED: tuple[Processor, ...] = (
    _with_ids,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_READABLE: tuple[Processor, ...] = (
    _with_ids,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
)


def _without_blanks(_: object, __: str, event: EventDict) -> EventDict:
    return {key: value for key, value in event.items() if value is not None}


def _tells_no_query(record: logging.LogRecord) -> bool:
    """uvicorn writes the whole URL of every WebSocket, query and all; our own line says what there is to say."""
    return '"WebSocket %s"' not in str(record.msg)


class _Logger:
    """Takes our own lines straight to where they are written. The standard library's records and formatters are for
    the libraries' lines: they cost several times what the line does, and there is one with every request.
    """

    __slots__ = ("_put", "name")

    def __init__(self, put: Callable[[bytes], None], name: str = "") -> None:
        self._put = put
        self.name = name

    def msg(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # nobody reads; what is logged must not fail for it
            self._put(line)

    debug = info = warning = error = critical = msg


def _json(_: object, __: str, event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        return json.dumps(event, default=repr, skipkeys=True).encode()


def _console() -> Processor:
    render = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,  # the pretty one shows what every variable holds
    )

    def rendered(logger: object, method: str, event: EventDict) -> bytes:
        return render(logger, method, event).encode(errors="backslashreplace")

    return rendered


def _as_text(_: object, __: str, line: Any) -> str:
    return str(line, "utf-8")


def configure_logs(
    *, level: str, style: Literal["auto", "console", "json"], dropped: Callable[[], None]
) -> Lines:
    """Sets up structlog and the standard library's logging for this process; lines go to stderr.

    `dropped` hears of each line that is given up while the result is open.
    """
    readable = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared = (*(_READABLE if readable else _SHARED), _without_blanks)
    render = [_console()] if readable else [structlog.processors.format_exc_info, _json]
    lines = Lines(sys.stderr.fileno(), dropped)
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=functools.partial(_Logger, lines.put),
        cache_logger_on_first_use=True,
    )
    lines.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, _as_text],
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_tells_no_query)
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel(level.upper())
    return lines
