"""The audit of the locked packages, against a database of advisories of our own making."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from stack import ROOT, free_port

ADVISORY = {
    "id": "PYSEC-2019-217",
    "summary": "made up for this test",
    "details": "made up for this test",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {"package": {"name": "any", "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": []}]}
    ],
}


@contextmanager
def advisories(of: Mapping[str, list[dict[str, Any]]]) -> Iterator[tuple[str, list[str]]]:
    """A database that knows these, by package; its address, and the packages it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            name = json.loads(self.rfile.read(int(self.headers["content-length"])))["package"]["name"]
            asked.append(name)
            body = json.dumps({"vulns": of[name]} if name in of else {}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        server.shutdown()


def audit(osv: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "dev" / "audit.py", "--osv", osv, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_package_with_an_advisory_fails_and_is_named() -> None:
    with advisories({"jinja2": [ADVISORY], "numpy": [ADVISORY]}) as (osv, _):
        answer = audit(osv)
    assert answer.returncode == 1
    assert "numpy" in answer.stdout
    assert ADVISORY["id"] in answer.stdout


def test_without_one_it_passes_and_has_asked_for_what_serves() -> None:
    with advisories({"jinja2": [ADVISORY]}) as (osv, asked):
        answer = audit(osv, "--insist")
    assert answer.returncode == 0, answer.stderr
    assert {"litestar", "uvicorn", "redis", "grpcio", "nvidia-pytriton"} <= set(asked)


@pytest.mark.parametrize("flags", [(), ("--insist",)])
def test_where_nobody_answers_it_says_so_and_fails_if_it_is_to_insist(flags: tuple[str, ...]) -> None:
    answer = audit(f"http://127.0.0.1:{free_port()}/v1/query", *flags)
    assert answer.returncode == (1 if flags else 0)
    assert "NOT DONE" in answer.stderr


def test_a_mirror_that_knows_nothing_does_not_pass_for_a_clean_bill() -> None:
    with advisories({}) as (osv, asked):
        answer = audit(osv, "--insist")
    assert answer.returncode == 1
    assert asked == ["jinja2"]
