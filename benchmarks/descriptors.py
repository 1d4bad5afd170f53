"""What the descriptors of a process are: connections by who is at the other end, all else by what it is."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

LISTENER = "listeners"


def kinds(process: psutil.Process, ports: Mapping[int, str]) -> Counter[str]:
    """How many it has of each kind; what it closes meanwhile is left out.

    `ports` names who is talked to where one of the two ends of a connection has that port; other kinds are
    `listeners`, the folder of a file and what the kernel calls the rest (pipe, socket, anon_inode).
    """
    connections = {each.fd: each for each in process.net_connections("inet")}
    found: Counter[str] = Counter()
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(entry.readlink())
            connection = connections.get(int(entry.name))
            found[_thing(target) if connection is None else _peer(connection, ports)] += 1
    return found


def _peer(connection: Any, ports: Mapping[int, str]) -> str:
    if not connection.raddr:
        return LISTENER
    return ports.get(connection.laddr.port) or ports.get(connection.raddr.port) or "socket"


def _thing(target: str) -> str:
    return str(Path(target).parent) if target.startswith("/") else target.partition(":")[0]
