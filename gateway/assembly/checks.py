"""What no single setting tells: bounds that contradict each other, what the files that are named hold, and what
neither an address nor a folder can be used for.
"""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.access_file import AccessFileError, issuers_of, tiers_of
from gateway.canary.routes_file import RoutesFileError, read_routes_file
from gateway.settings import Settings, SettingsError
from gateway.store import UnknownOption, check_options, tls_files
from gateway.telemetry.worker_files import MetricsFolderError, check_folder


def check(settings: Settings, *, here: bool = False) -> None:
    """Raises SettingsError with a line for each thing that is wrong; `here`: also where this machine is to serve."""
    places = _places(settings) if here else ()
    if faults := [*_contradictions(settings), *_files(settings), *places]:
        raise SettingsError("\n".join(faults))


def _contradictions(settings: Settings) -> Iterator[str]:
    if settings.request_timeout > settings.max_request_timeout:
        yield (
            f"GATEWAY_REQUEST_TIMEOUT: {settings.request_timeout:g} is more than GATEWAY_MAX_REQUEST_TIMEOUT, "
            f"{settings.max_request_timeout:g}"
        )
    if settings.max_buffered_bytes < settings.max_body_bytes:
        yield (
            f"GATEWAY_MAX_BUFFERED_BYTES: {settings.max_buffered_bytes} has no room for one body of "
            f"GATEWAY_MAX_BODY_BYTES, {settings.max_body_bytes}"
        )
    elif settings.max_buffered_bytes < 2 * settings.max_tensor_bytes:
        # One tenant has half of it; and a body that was packed is held beside what it becomes.
        yield (
            f"GATEWAY_MAX_BUFFERED_BYTES: {settings.max_buffered_bytes} is less than twice GATEWAY_MAX_TENSOR_BYTES, "
            f"{settings.max_tensor_bytes}: the largest tensors would always be refused"
        )


def _files(settings: Settings) -> Iterator[str]:
    yield from _fault("GATEWAY_REDIS_URL", lambda: check_options(settings.redis_url))
    access, routes, models = settings.access_file, settings.routes_file, settings.model_repository
    yield from _fault("GATEWAY_ACCESS_FILE", lambda: (tiers_of(access), issuers_of(access)))
    if routes is not None:
        yield from _fault("GATEWAY_ROUTES_FILE", lambda: read_routes_file(routes))
    if models is not None and not models.is_dir():
        yield f"GATEWAY_MODEL_REPOSITORY: {models} is not a folder"


def _places(settings: Settings) -> Iterator[str]:
    try:
        socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # the latter of what cannot be a name at all
        yield f"GATEWAY_HOST: {settings.host} cannot be resolved: {getattr(error, 'strerror', None) or error}"
    for option, path in tls_files(settings.redis_url).items():
        if not Path(path).exists():
            yield f"GATEWAY_REDIS_URL: there is nothing at the place that {option} names"
    folder = settings.metrics_dir
    if settings.workers > 1 and folder is not None:
        yield from _fault("GATEWAY_METRICS_DIR", lambda: check_folder(folder))


def _fault(variable: str, read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except (AccessFileError, MetricsFolderError, RoutesFileError, UnknownOption) as error:
        yield f"{variable}: {error}"
