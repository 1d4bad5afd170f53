"""Where Tritons are: addresses as they are written down, and all that stand behind a name."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

_BY_NAME = "dns:///"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""All IP addresses of a host's name. Raises OSError where it has none, or nobody can say, ValueError for no name."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """What the system says, by A and AAAA."""
    rows = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in rows]


class Endpoints:
    """`written`: host:port, each one Triton, or dns:///host:port, each address of the name one; with commas between."""

    def __init__(self, written: str, resolve: Resolve = system_resolve) -> None:
        parts = [part.strip() for part in written.split(",")]
        self.fixed = tuple(part for part in parts if not part.startswith(_BY_NAME))
        self._names = [part.removeprefix(_BY_NAME) for part in parts if part.startswith(_BY_NAME)]
        self._resolve = resolve
        self._known: dict[str, list[str]] = {}

    @property
    def change(self) -> bool:
        """Whether there may be others later."""
        return bool(self._names)

    async def find(self) -> tuple[list[str], str]:
        """host:port of every Triton, each once; and why a name could not be looked up, if one could not. What is known
        behind such a name, or behind one that has no address now, stays, and the other names are followed.
        """
        found, trouble = list(self.fixed), ""
        for name in self._names:
            try:
                self._known[name] = await self._behind(name) or self._known.get(name, [])
            except (OSError, ValueError) as error:
                trouble = f"{name}: {error}"
            found += self._known.get(name, [])
        return list(dict.fromkeys(found)), trouble

    async def _behind(self, name: str) -> list[str]:
        host, _, port = name.rpartition(":")
        addresses = await self._resolve(host.strip("[]"), int(port))
        return sorted(f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in addresses)
