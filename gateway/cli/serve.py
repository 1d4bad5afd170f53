"""`gateway serve`: run the HTTP server."""

import gateway.cli.lean  # noqa: F401  # before all that follows

# isort: split
import asyncio
import contextlib
import functools
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import cast

import click
import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from gateway.cli.check_config import load_checked_settings
from gateway.http import Bounds, Guard, StreamGuard
from gateway.serving import Supervisor
from gateway.settings import Settings, SettingsError
from gateway.telemetry.logs import configure_logs
from gateway.telemetry.worker_files import MetricsFolderError, shared_folder

_log = structlog.stdlib.get_logger("gateway.serving")

_GRACE_SECONDS = 8  # what requests in flight get to finish when nothing more is listened to
_START_SECONDS = (
    20  # for a worker that takes another one's place; also what a worker may be silent to its supervisor
)
_CLOSE_SECONDS = 4  # for what is open behind the requests: spans, calls that nobody waits for, connections


@click.command()
def serve() -> None:
    """Serve HTTP until SIGTERM or Ctrl-C."""
    settings = load_checked_settings(here=True)
    _check_address(settings.host, settings.port)
    # gRPC reads this once, as the application imports it, here or in the workers. Answers then come by epoll on the
    # thread that hands them to the event loop, and not through a pool of threads: 2 switches a call instead of 5.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client")
    lines = configure_logs(level=settings.log_level, style=settings.log_format, dropped=lambda: None)
    if settings.workers == 1:
        _serve_alone(_config(settings))
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(lines)
        _supervise(settings, died=_share_metrics(settings, stack))


def application() -> object:
    """What uvicorn calls in every process that serves; a worker comes here without the command."""
    return _built(succeeds=False)


def successor() -> object:
    """As `application`, in a worker that takes the place of one that serves."""
    return _built(succeeds=True)


def _built(*, succeeds: bool) -> object:
    """What cannot be built ends as a start that failed, so that its supervisor does not try for ever."""
    configure_logs(level="info", style="auto", dropped=lambda: None)  # until the settings are known
    try:
        from gateway.app import create_app  # noqa: PLC0415  # the parent of workers has no use for it

        return create_app(succeeds=succeeds)
    except SettingsError as error:
        _log.critical("settings_not_valid", why=str(error))
    except MetricsFolderError as error:
        _log.critical("metrics_not_kept", why=str(error))
    except Exception:  # noqa: BLE001  # told as one line, whatever it is
        _log.critical("application_not_built", exc_info=True)
    sys.exit(STARTUP_FAILURE)


class _CannotStart(click.ClickException):
    exit_code = STARTUP_FAILURE


def _check_address(host: str, port: int) -> None:
    """Says which variables are wrong, where uvicorn says which call failed."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _CannotStart(
            f"GATEWAY_HOST={host} GATEWAY_PORT={port}: cannot listen there: {reason}"
        ) from None


def _share_metrics(settings: Settings, stack: contextlib.ExitStack) -> Callable[[], None]:
    """Before there is a worker: each decides when it starts where its metrics go. Answers who counts their deaths."""
    try:
        folder = stack.enter_context(shared_folder(settings.metrics_dir))
        from gateway.telemetry.metrics import SupervisorMetrics  # noqa: PLC0415  # it decides when it is imported

        return SupervisorMetrics(folder).worker_died
    except MetricsFolderError as error:
        raise click.ClickException(f"GATEWAY_METRICS_DIR: {error}") from None


def _protocol(settings: Settings) -> type[asyncio.Protocol]:
    bounds = Bounds(head_seconds=settings.header_timeout, connections=settings.max_peer_connections)
    return cast("type[asyncio.Protocol]", functools.partial(Guard, bounds=bounds))  # uvicorn only calls it


def _config(settings: Settings, made: Callable[[], object] = application) -> uvicorn.Config:
    return uvicorn.Config(
        f"gateway.cli.serve:{made.__name__}",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=_protocol(settings),
        ws=StreamGuard,
        ws_max_size=2
        * settings.max_frame_bytes,  # up to here a frame is told that it is too large; then the line is cut
        ws_per_message_deflate=False,  # images are compressed, and a small message must not unpack to a large one
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_worker_healthcheck=_START_SECONDS,
    )


def _supervise(settings: Settings, *, died: Callable[[], None]) -> None:
    config = _config(settings)
    ending = settings.drain_delay + _GRACE_SECONDS + _CLOSE_SECONDS
    supervisor = Supervisor(
        config, [config.bind_socket()], successor=_config(settings, successor), ending=ending, died=died
    )
    supervisor.run()
    if supervisor.failed:
        sys.exit(STARTUP_FAILURE)


def _serve_alone(config: uvicorn.Config) -> None:
    signal.signal(signal.SIGHUP, _no_reload)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # a wish that was done, as under a supervisor
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal once more when it has ended
        # As for several workers: by itself asyncio would listen to IPv6 alone where :: is asked for.
        server.run([config.bind_socket()])
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _no_reload(_: int, __: FrameType | None) -> None:
    """By default the signal would end the process, and there is no other one to take over."""
    _log.warning("no_reload_with_one_worker", mend="set GATEWAY_WORKERS to 2 or more, or restart the gateway")
