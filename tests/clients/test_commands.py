"""The sample commands, typed as their page tells: through the gateway, and straight to Triton for comparison."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from processes import RunningStack
from stack import ROOT

CLIENTS = ROOT / "clients"
DIGIT = CLIENTS / "samples" / "digit.png"


def typed(stack: RunningStack, program: str, *words: object, key: str | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of one command."""
    return run(
        program,
        *words,
        GATEWAY_URL=stack.url,
        GATEWAY_KEY=stack.key if key is None else key,
        TRITON_GRPC=f"{stack.at.triton_address}:{stack.at.triton_grpc_port}",
    )


def run(program: str, *words: object, **settings: str) -> tuple[int, str, str]:
    command = [sys.executable, str(CLIENTS / program), *map(str, words)]
    environment = {**os.environ, **settings}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_both_ways_find_the_same_digit(stack: RunningStack) -> None:
    for program in ("http_client.py", "grpc_client.py"):
        code, output, errors = typed(
            stack, program, "--model", "digits_classifier", "--version", "1", "--image", DIGIT
        )
        assert (code, errors) == (0, "")
        title, best, *_ = output.splitlines()
        assert title.startswith("digits_classifier version 1")
        assert best.split()[1] == "7"


def test_a_model_for_objects_answers_with_boxes(stack: RunningStack) -> None:
    scene = CLIENTS / "samples" / "scene.jpg"
    code, output, _ = typed(stack, "http_client.py", "--model", "digits_detector", "--image", scene)
    assert code == 0
    assert ") to (" in output


def test_an_image_that_is_no_file_is_one_line(stack: RunningStack) -> None:
    for place in (CLIENTS / "samples", CLIENTS / "nothing.png"):
        code, output, errors = typed(stack, "http_client.py", "--image", place)
        assert (code, output, len(errors.splitlines())) == (1, "", 1)
        assert errors.startswith(str(place))


@pytest.mark.parametrize(
    ("status", "body", "line"),
    [
        (502, b'{"message": "no upstream"}', "502 Bad Gateway"),
        (502, b"[]", "502 Bad Gateway"),
        (302, b"", "302 Found"),
        (200, b"<html>sign in", "this is no answer of a gateway"),
        (200, b'{"results": []}', "this is no answer of a gateway"),
    ],
    ids=["JSON of another form", "a list", "a way to a login", "a page", "an answer of another form"],
)
def test_an_answer_of_somebody_in_between_is_one_line(status: int, body: bytes, line: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class's name
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        code, output, errors = run("http_client.py", "--image", DIGIT, GATEWAY_URL=url, GATEWAY_KEY="key")
        thread.join()
    assert (code, output, errors.removeprefix(f"{url}: ")) == (1, "", f"{line}\n")


def test_a_refusal_is_one_line(stack: RunningStack) -> None:
    code, output, errors = typed(stack, "http_client.py", "--model", "nobody", "--image", DIGIT)
    assert (code, output) == (1, "")
    assert errors.startswith("404 model_not_found: ")
    code, output, errors = typed(stack, "grpc_client.py", "--model", "nobody", "--image", DIGIT)
    assert (code, output) == (1, "")
    assert len(errors.splitlines()) == 1
