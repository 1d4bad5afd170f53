"""What no single setting tells: bounds that contradict each other, and what the files that are named hold."""

from collections.abc import Callable, Iterator

from gateway.access_file import AccessFileError, issuers_of, tiers_of
from gateway.canary.routes_file import RoutesFileError, read_routes_file
from gateway.settings import Settings, SettingsError


def check(settings: Settings) -> None:
    """Raises SettingsError with a line for each thing that is wrong."""
    if faults := [*_contradictions(settings), *_files(settings)]:
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


def _files(settings: Settings) -> Iterator[str]:
    access, routes, models = settings.access_file, settings.routes_file, settings.model_repository
    yield from _fault("GATEWAY_ACCESS_FILE", lambda: (tiers_of(access), issuers_of(access)))
    if routes is not None:
        yield from _fault("GATEWAY_ROUTES_FILE", lambda: read_routes_file(routes))
    if models is not None and not models.is_dir():
        yield f"GATEWAY_MODEL_REPOSITORY: {models} is not a folder"


def _fault(variable: str, read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except (AccessFileError, RoutesFileError) as error:
        yield f"{variable}: {error}"
