"""The sample commands, typed as their page tells: through the gateway, and straight to Triton for comparison."""

import os
import subprocess
import sys

from processes import RunningStack
from stack import ROOT

CLIENTS = ROOT / "clients"
DIGIT = CLIENTS / "samples" / "digit.png"


def typed(stack: RunningStack, program: str, *words: object, key: str | None = None) -> tuple[int, str, str]:
    """Exit code, output and errors of one command."""
    environment = {
        **os.environ,
        "GATEWAY_URL": stack.url,
        "GATEWAY_KEY": stack.key if key is None else key,
        "TRITON_GRPC": f"{stack.at.triton_address}:{stack.at.triton_grpc_port}",
    }
    command = [sys.executable, str(CLIENTS / program), *map(str, words)]
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


def test_a_refusal_is_one_line(stack: RunningStack) -> None:
    code, output, errors = typed(stack, "http_client.py", "--model", "nobody", "--image", DIGIT)
    assert (code, output) == (1, "")
    assert errors.startswith("404 model_not_found: ")
    code, output, errors = typed(stack, "grpc_client.py", "--model", "nobody", "--image", DIGIT)
    assert (code, output) == (1, "")
    assert len(errors.splitlines()) == 1
