"""A page's own server, as small as it can be: it serves browser.html, and exchanges its key for tokens of the page.

The long-lived key stays here. What the page gets lives ten minutes, may only infer, and counts only for this page's
origin. Whoever may open the page may have a token: your own login belongs in front of `POST /token`. Standard library
only; GATEWAY_URL and GATEWAY_KEY name the gateway and the key.
"""

import http.server
import json
import os
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

PAGE = Path(__file__).with_name("browser.html")
TOKEN_SECONDS = 600
_INLINE = "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
_POLICY = f"default-src 'none'; {_INLINE}; img-src blob: data:; connect-src 'self' "


class PageServer(http.server.ThreadingHTTPServer):
    """Listens on localhost; `gateway` is a URL, `key` an API key with the scope infer."""

    daemon_threads = True

    def __init__(self, port: int, gateway: str, key: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.origin = f"http://localhost:{self.server_address[1]}"
        self.gateway = gateway.rstrip("/")
        self.key = key

    def token(self) -> bytes:
        """What the gateway answers for a token of this page, as JSON. Raises OSError."""
        wanted = {"origins": [self.origin], "ttl": TOKEN_SECONDS, "scopes": ["infer"]}
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310  # whoever starts this names the gateway
            f"{self.gateway}/v1/tokens", json.dumps(wanted).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            granted = json.load(answer)
        return json.dumps({"gateway": self.gateway, "token": granted["token"]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        if self.path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._answer(PAGE.read_bytes(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        if self.path != "/token":
            self.send_error(HTTPStatus.NOT_FOUND)
        elif self.headers.get("Origin") != self.server.origin:
            self.send_error(HTTPStatus.FORBIDDEN, "for this page only")
        else:
            self._exchange()

    def _exchange(self) -> None:
        try:
            granted = self.server.token()
        except urllib.error.HTTPError as error:
            self.log_error("the gateway refuses the key: %s %s", error.code, error.read().decode())
            self.send_error(HTTPStatus.BAD_GATEWAY, "no token to be had")
        except OSError as error:
            self.log_error("no gateway: %s", error)
            self.send_error(HTTPStatus.BAD_GATEWAY, "no gateway")
        else:
            self._answer(granted, "application/json")

    def _answer(self, body: bytes, media_type: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY + self.server.gateway)
        self.end_headers()
        self.wfile.write(body)


def main() -> int:
    port = int(os.environ.get("PORT", "3000"))
    gateway = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080")
    with PageServer(port, gateway, os.environ["GATEWAY_KEY"]) as server:
        print(f"{server.origin}  (the gateway needs GATEWAY_CORS_ORIGINS={server.origin})", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
