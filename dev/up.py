"""`make up`: the whole stack in the foreground, one stream of logs, everything ended by Ctrl-C or SIGTERM."""

import os
import shlex
import signal
import socket
import sys
import time

import honcho.manager
import httpx
from honcho.manager import Manager
from stack import (
    ADMINISTRATION,
    ROOT,
    RUN,
    Addresses,
    Part,
    StackError,
    check_ports,
    create_key,
    gateway,
    private_file,
    redis,
    triton,
    write_settings,
)

_READY_SECONDS = 120
# The runner kills what has not ended in time. Triton lets requests finish first, so it gets longer than the default.
honcho.manager.KILL_WAIT = 15

_READY = """
  Ready in {seconds:.0f} s.

    Playground    {url}/playground
    Console       {url}/console
    API           {url}/docs
    Readiness     {url}/readyz
    Triton        http://{triton_host}:{triton_port}   (HTTP; behind the gateway, not for callers)

    Demo key      {key}
    Admin key     {admin_key}
                  . .run/keys.env  sets GATEWAY_URL, GATEWAY_KEY and GATEWAY_ADMIN_KEY
                  .run/secrets.env has the settings for .venv/bin/gateway (keys, tokens, doctor)

  A picture of one digit, and one of several:

    curl -H 'X-API-Key: {key}' -H 'Content-Type: image/png' --data-binary @clients/samples/digit.png {url}/v1/classify
    curl -H 'X-API-Key: {key}' -H 'Content-Type: image/jpeg' --data-binary @clients/samples/scene.jpg {url}/v1/detect

  Ctrl-C stops everything.
"""


def main() -> int:
    """Runs until a part ends or a signal comes; the exit code says which."""
    try:
        at = Addresses.from_environment(os.environ)
        check_ports(at)
        parts = [redis(at), triton(at), gateway(at, log_format="console")]
    except StackError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    announcer = Part("stack", [sys.executable, __file__, "announce"])
    manager = Manager()
    for part in [*parts, announcer]:
        manager.add_process(
            part.name,
            f"exec {shlex.join(part.command)}",
            env={**os.environ, **part.environment},
            cwd=str(ROOT),
        )
    manager.loop()
    stopped = manager.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    if not stopped:
        print(
            "make up: a part ended by itself, so the rest was stopped; its last lines above say why",
            file=sys.stderr,
        )
    return 0 if stopped else 1


def _exports(**values: str) -> str:
    return "".join(f"export {name}={value}\n" for name, value in values.items())


def announce() -> None:
    """Waits for readiness, says how to use the stack, and then watches: the runner stops all when this ends."""
    at = Addresses.from_environment(os.environ)
    started = time.monotonic()
    while not _ready(f"{at.gateway_url}/readyz"):
        if time.monotonic() - started > _READY_SECONDS:
            sys.exit(
                f"not ready after {_READY_SECONDS} s: {at.gateway_url}/readyz tells which part is missing"
            )
        time.sleep(0.2)
    key = create_key(at, "demo", "infer", "pin-version")
    admin_key = create_key(at, "operators", *ADMINISTRATION)
    private_file(
        RUN / "keys.env", _exports(GATEWAY_URL=at.gateway_url, GATEWAY_KEY=key, GATEWAY_ADMIN_KEY=admin_key)
    )
    write_settings(at)
    text = _READY.format(
        key=key,
        admin_key=admin_key,
        seconds=time.monotonic() - started,
        url=at.gateway_url,
        triton_host=at.triton_address,
        triton_port=at.triton_http_port,
    )
    print(text, flush=True)
    while (gone := _gone(at)) is None:
        time.sleep(1)
    sys.exit(f"nothing listens any more where {gone} says: that part died")


def _gone(at: Addresses) -> str | None:
    """The variable of the first address that refuses connections.

    The runner notices the end of a part by the end of its output, which a dead Triton's backend processes hold open.
    """
    for variable, host, port in at.listeners():
        try:
            socket.create_connection((host, port), timeout=5).close()
        except ConnectionRefusedError:
            return variable
        except OSError:
            continue
    return None


def _ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


if __name__ == "__main__":
    if sys.argv[1:] == ["announce"]:
        announce()
    else:
        sys.exit(main())
