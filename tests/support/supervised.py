"""Workers that do nothing, under the gateway's supervisor: `python -m support.supervised SECONDS` for `ending`."""

import sys

import uvicorn

from gateway.serving import Supervisor


async def application(_: object, __: object, ___: object) -> None:
    """Answers nobody."""


if __name__ == "__main__":
    config = uvicorn.Config(
        "support.supervised:application",
        port=0,
        workers=2,
        lifespan="off",
        timeout_worker_healthcheck=60,
    )
    Supervisor(config, [config.bind_socket()], ending=float(sys.argv[1])).run()
