"""Promises about the shape of the project that no type checker holds."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack import ROOT

from gateway import errors
from gateway.api.problems import KINDS
from gateway.errors import GatewayError


def tree(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def leaves(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    children = kind.__subclasses__()
    if not children:
        yield kind
    for child in children:
        yield from leaves(child)


def test_the_folder_triton_is_not_importable() -> None:
    assert importlib.util.find_spec("triton") is None
    assert not list((ROOT / "triton").rglob("__init__.py"))


def test_the_gateway_starts_with_the_project_folder_off_its_path() -> None:
    answer = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "version" in answer.stdout


def test_a_gateway_loads_no_libraries_of_what_it_was_not_asked_for() -> None:
    """Each costs megabytes, in every worker."""
    source = "import gateway.app, sys; gateway.app.create_app(); print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", source],
        env={"GATEWAY_KEY_PEPPER": "p" * 32, "GATEWAY_TOKEN_SECRET": "t" * 32},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(answer.stdout.split())
    assert {"gateway.app", "redis", "numpy"} <= loaded
    assert not loaded & {"opentelemetry.sdk.trace.export", "requests", "tokenizers"}


def test_serve_has_not_loaded_grpc_when_it_tells_it_how_to_wait() -> None:
    source = "import gateway.cli.serve, sys; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-P", "-c", source], capture_output=True, text=True, check=True)
    assert "click" in answer.stdout.split()
    assert "grpc" not in answer.stdout.split()


@pytest.mark.parametrize(
    "kind", sorted(leaves(GatewayError), key=lambda kind: kind.__name__), ids=lambda k: k.__name__
)
def test_every_error_has_a_status_and_stands_in_the_drawn_tree(kind: type[GatewayError]) -> None:
    assert kind.code in KINDS
    assert kind.__name__ in (errors.__doc__ or "")


def test_codes_are_not_shared() -> None:
    """Apart from a kind without a code of its own, which goes by its parent's."""
    codes = [kind.code for kind in tree(GatewayError) if "code" in vars(kind)]
    assert len(codes) == len(set(codes))


def test_nobody_reads_cookies_by_the_frameworks_parser() -> None:
    """`gateway/api/cookies.py` says why. Litestar reads them for a handler's parameter, too."""
    ways = {"cookies", "CookieParameter", "FromCookie", "RequestCookies"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in Path(ROOT, "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Attribute) and node.attr in ways)
        or (isinstance(node, ast.Name) and node.id in ways)
        or (isinstance(node, ast.arg) and node.arg in ways)
    ]
    assert found == []


def test_nothing_is_patched_and_nothing_is_skipped_in_the_tests() -> None:
    forbidden = (
        "monkey" + "patch",
        "mock" + ".patch",
        "pytest.mark." + "skip",
        "pytest.mark." + "xfail",
        "pytest." + "skip",
    )
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in Path(ROOT, "tests").rglob("*.py")
        for word in forbidden
        if word in path.read_text()
    ]
    assert found == []
