"""What is measured: a real Triton, a real Redis and a gateway with two workers, and what can be seen of them."""

import http.client
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from connection import Address
from PIL import Image
from processes import RunningStack, running_stack, workers_of

WORKERS = 2
_READY_SECONDS = 20
_LOOK_SECONDS = 3.0
_QUIET = 0.2  # share of the machine; an idle stack takes a few percent

# Quotas that no load here exhausts, where the quotas are not what is measured.
_ROOMY = """
[tiers.premium]
key = { limit = 1000000 }
tenant = { limit = 1000000 }
in_flight = 100000
priority = "interactive"
"""


@dataclass(frozen=True)
class Testbed:
    """The running stack."""

    stack: RunningStack

    @property
    def address(self) -> Address:
        return Address(self.stack.at.gateway_host, self.stack.at.gateway_port)

    def key(self, tenant: str, **fields: object) -> tuple[str, str]:
        """Id and secret of a new key with the scope infer, once every worker knows it."""
        wanted = {"tenant": tenant, "scopes": ["infer"], "tier": "premium", **fields}
        answer = httpx.post(
            f"{self.stack.url}/admin/v1/keys", json=wanted, headers=self._admin, trust_env=False, timeout=10
        )
        made = answer.raise_for_status().json()
        for connection in self.connections().values():
            wait_for(lambda c=connection: status(c, made["key"]) != http.client.UNAUTHORIZED)  # type: ignore[misc]
            connection.close()
        return made["id"], made["key"]

    def revoke(self, key_id: str) -> None:
        url = f"{self.stack.url}/admin/v1/keys/{key_id}"
        httpx.delete(url, headers=self._admin, trust_env=False, timeout=10).raise_for_status()

    @property
    def _admin(self) -> dict[str, str]:
        return {"x-api-key": self.stack.admin_key}

    def workers(self) -> list[psutil.Process]:
        return workers_of(self.stack.gateway)

    def connections(self) -> dict[int, http.client.HTTPConnection]:
        """An open connection to each worker, by its process id."""
        found: dict[int, http.client.HTTPConnection] = {}
        spare = []
        end = time.monotonic() + _READY_SECONDS
        while len(found) < WORKERS:
            if time.monotonic() > end:
                raise RuntimeError(f"only the workers {list(found)} take connections")
            connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=10)
            connection.request("GET", "/livez")
            connection.getresponse().read()
            pid = self._owner(connection)
            (spare.append(connection) if pid in found else found.update({pid: connection}))
        for connection in spare:
            connection.close()
        return found

    def _owner(self, connection: http.client.HTTPConnection) -> int:
        """The worker at the other end."""
        port = connection.sock.getsockname()[1]
        for worker in self.workers():
            if any(end.raddr and end.raddr.port == port for end in worker.net_connections("tcp")):
                return worker.pid
        raise RuntimeError("no worker holds the other end of the connection")

    def memory(self) -> int:
        """Resident bytes of all workers."""
        return sum(worker.memory_info().rss for worker in self.workers())

    def cpu(self) -> float:
        """Seconds of CPU that the workers have used so far."""
        return sum(sum(worker.cpu_times()[:2]) for worker in self.workers())

    def log(self, begin: float = 0.0) -> list[dict[str, Any]]:
        """The gateway's lines since a moment (of the wall clock, in seconds), each with that moment as `at`."""
        lines = []
        for text in self.stack.gateway.log.read_text().splitlines():
            if not text.startswith("{"):
                continue
            line: dict[str, Any] = json.loads(text)
            line["at"] = datetime.fromisoformat(line["timestamp"]).timestamp()
            if line["at"] >= begin:
                lines.append(line)
        return lines


@contextmanager
def roomy_access() -> Iterator[Path]:
    """An access file whose quotas no load here exhausts."""
    with tempfile.TemporaryDirectory() as folder:
        access = Path(folder, "access.toml")
        access.write_text(_ROOMY)
        yield access


@contextmanager
def started(repository: Path | None = None, *, roomy: bool = False, **settings: object) -> Iterator[Testbed]:
    """The stack for the length of the block; `roomy` lifts the quotas."""
    with roomy_access() as access:
        if roomy:
            settings["access_file"] = access
        with running_stack(repository, workers=WORKERS, **settings) as stack:
            bed = Testbed(stack)
            for connection in bed.connections().values():  # /readyz spoke for one of them
                wait_for(lambda c=connection: status(c, path="/readyz") == http.client.OK)  # type: ignore[misc]
                connection.close()
            yield bed


def status(connection: http.client.HTTPConnection, key: str = "", path: str = "/v1/models") -> int:
    """The status of one GET."""
    connection.request("GET", path, headers={"X-API-Key": key} if key else {})
    response = connection.getresponse()
    response.read()
    return response.status


def wait_for(condition: Callable[[], bool], seconds: float = _READY_SECONDS) -> None:
    """Returns once it holds. Raises RuntimeError where it does not come to pass."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("what was waited for did not come to pass")
        time.sleep(0.01)


def tiny_picture() -> bytes:
    """A picture that costs next to nothing to decode."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 128).save(buffer, "PNG")
    return buffer.getvalue()


def machine() -> str:
    """One line on where the figures come from: a busy machine says other things than an idle one."""
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory().total / 2**30
    psutil.cpu_percent()
    time.sleep(_LOOK_SECONDS)
    busy = psutil.cpu_percent() / 100
    advice = "" if busy < _QUIET else " (other work is running here: these figures are not worth keeping)"
    return f"{cores} cores, {memory:.0f} GiB, {busy * 100:.0f} % busy before the load{advice}"
