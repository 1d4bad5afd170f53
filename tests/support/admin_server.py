"""The far side of the wire: the fake administration behind real HTTP, with ETags, problems and the stream."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from click.testing import Result
from support.fake_admin import ACTIONS, Call, FakeAdmin, Json, Problem

from gateway.canary import lifecycle
from gateway.canary.route import default_route
from gateway.canary.wanted import amend, read_wanted

KEY = "gw_test_admin"

Run = Callable[..., Result]
"""The command `gateway canary` with these words, input and variables of the environment."""


class AdminServer:
    """`seen` are the calls that came: method, path, If-Match."""

    def __init__(self, fake: FakeAdmin) -> None:
        self.fake = fake
        self.seen: list[tuple[str, str, str | None]] = []
        self._port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """On the port of the last time, if there was one."""
        bound = type("Bound", (_Handler,), {"fake": self.fake, "seen": self.seen})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), bound)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        self._serving = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._serving.start()

    def stop(self) -> None:
        """As a restart does: nobody listens, and streams break off."""
        self._server.shutdown()
        self._server.server_close()
        self._serving.join()
        self.fake.end_streams()


@contextmanager
def admin_server(*models: str) -> Iterator[AdminServer]:
    """Serving these models, each with everything on version 1."""
    server = AdminServer(FakeAdmin({model: (default_route(model, "1"), 0) for model in models}))
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeAdmin
    seen: list[tuple[str, str, str | None]]

    def log_message(self, *_: object) -> None:
        """Not to the terminal of the tests."""

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        call = Call(
            self.command,
            [unquote(part) for part in parts.path.split("/")[3:]],
            parse_qs(parts.query),
            self.headers.get("if-match"),
            json.loads(self.rfile.read(length) or b"{}"),
        )
        self.seen.append((call.method, parts.path, call.expected))
        try:
            self._authenticate()
            if call.path == ["events"]:
                self._stream()
            else:
                self._answer(200, _answer(self.fake, call))
        except Problem as problem:
            self._answer(problem.status, problem.document, "application/problem+json")

    def _authenticate(self) -> None:
        if self.headers.get("authorization") != f"Bearer {KEY}":
            raise Problem(401, "invalid_key", "Invalid key", "This key is not valid.")

    def _answer(self, status: int, document: Json, kind: str = "application/json") -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        if "generation" in document:
            self.send_header("etag", f'"{document["generation"]}"')
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with self.fake.follower() as stream:
            while (told := stream.get()) is not None:
                name, document = told
                text = f": keep-alive\n\nevent: {name}\ndata: {json.dumps(document, ensure_ascii=False)}\n\n"
                try:
                    self.wfile.write(text.encode())
                except OSError:
                    return


def _answer(fake: FakeAdmin, call: Call) -> Json:
    if call.path == ["canaries"]:
        return {"canaries": [fake.view(model) for model in fake.routes]}
    model, *rest = call.path[1:]
    fake.standing(model)
    if rest:
        return _of_route(fake, model, rest[0], call)
    if call.method == "GET":
        return fake.view(model)
    call.required()
    text, salt = json.dumps(_with_moment(call.body)), "fresh"
    if call.method == "PUT":
        return fake.change(
            model, lambda route: lifecycle.put(route, read_wanted(text), time.time(), salt), "put", call
        )
    return fake.change(
        model, lambda route: lifecycle.put(route, amend(route, text), time.time(), salt), "patch", call
    )


def _of_route(fake: FakeAdmin, model: str, word: str, call: Call) -> Json:
    if word == "report":
        return fake.report(model)
    if word == "callers":
        return {"callers": fake.callers.get((model, call.query["version"][0]), [])}
    if word == "events":
        mine = [event for event in fake.log if event["model"] == model]
        return {"events": mine[: int(call.query.get("limit", ["100"])[0])]}
    if word == "check":
        return _check(fake, model, call.body["to"])
    if word == "undo":
        return fake.change(
            model, lambda route: lifecycle.undo(route, fake.undone[model], time.time()), "undo", call
        )
    transition = ACTIONS[word]
    return fake.change(model, lambda route: transition(route, call.body.get("reason", "")), word, call)


def _check(fake: FakeAdmin, model: str, to: str) -> Json:
    checks = [{"name": "loaded", "passed": True, "detail": f"Versions 1 and {to} are loaded."}]
    checks += [{"name": "warm-up", "passed": False, "detail": reason} for reason in fake.failing_checks]
    return {"model": model, "from": "1", "to": to, "passed": not fake.failing_checks, "checks": checks}


def _with_moment(body: Json) -> Json:
    lease = body.get("lease")
    return body if lease is None else {**body, "lease": time.time() + lease}
