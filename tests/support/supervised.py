"""Workers that do nothing, under the gateway's supervisor: `python -m support.supervised SECONDS` for `ending`.

Those that start while the file exists that `FAULT` names end instead, as a start that failed.
"""

import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from gateway.serving import Supervisor


def made() -> Callable[..., Awaitable[None]]:
    if Path(os.environ["FAULT"]).exists():
        sys.exit(STARTUP_FAILURE)
    return application


async def application(_: object, __: object, ___: object) -> None:
    """Answers nobody, and whoever asks has its worker stand still."""
    time.sleep(600)  # noqa: ASYNC251  # that is the fault


if __name__ == "__main__":
    config = uvicorn.Config(
        "support.supervised:made",
        factory=True,
        port=0,
        workers=2,
        lifespan="off",
        timeout_worker_healthcheck=60,
    )
    Supervisor(config, [config.bind_socket()], successor=config, ending=float(sys.argv[1])).run()
