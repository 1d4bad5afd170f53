"""Files that the gateway serves as they are: pages, and in `assets/` what they load."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable


@cache
def read_page(path: str) -> bytes:
    """The bytes of a file in this folder."""
    return (files(__name__) / path).read_bytes()


def assets() -> Mapping[str, bytes]:
    """Every file below `assets/` by its path there, such as `shared/design.css`."""
    return dict(_below(files(__name__) / "assets"))


def _below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith("."):
            yield prefix + entry.name, entry.read_bytes()
