"""Files that the gateway serves as they are."""

from functools import cache
from importlib.resources import files


@cache
def read_page(path: str) -> bytes:
    """The bytes of a file in this folder."""
    return (files(__name__) / path).read_bytes()
