"""`gateway serve`: run the HTTP server."""

import click
import uvicorn

from gateway.cli.check_config import load_settings

_DRAIN_SECONDS = 8  # what requests in flight get to finish after SIGTERM


@click.command()
def serve() -> None:
    """Serve HTTP until SIGTERM or Ctrl-C."""
    settings = load_settings()
    uvicorn.run(
        "gateway.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",  # h11 accepts framing that invites request smuggling
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
