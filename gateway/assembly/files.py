"""The files that settings name, read offline before anything is built on them."""

from collections.abc import Callable, Iterator

from gateway.access_file import AccessFileError, issuers_of, tiers_of
from gateway.canary.routes_file import RoutesFileError, read_routes_file
from gateway.settings import Settings, SettingsError


def check_files(settings: Settings) -> None:
    """Raises SettingsError with a line for each file that cannot be used."""
    if faults := list(_faults(settings)):
        raise SettingsError("\n".join(faults))


def _faults(settings: Settings) -> Iterator[str]:
    yield from _fault(
        "GATEWAY_ACCESS_FILE", lambda: (tiers_of(settings.access_file), issuers_of(settings.access_file))
    )
    if (routes := settings.routes_file) is not None:
        yield from _fault("GATEWAY_ROUTES_FILE", lambda: read_routes_file(routes))


def _fault(variable: str, read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except (AccessFileError, RoutesFileError) as error:
        yield f"{variable}: {error}"
