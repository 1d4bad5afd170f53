"""schemathesis against a running gateway: its own description, and that of the Open Inference Protocol.

What it looks for: answers of 500 and above, statuses that are not written down, bodies, headers and media types that
are not as described, methods that answer where they should not. `make fuzz` runs it for `SECONDS` on each of the two.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
from processes import RunningStack, running_stack
from stack import ROOT

PROTOCOL = ROOT / "tests" / "fuzz" / "open_inference.yaml"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
# What would end the test's own means: its key, the models that it asks; and streams, which do not end.
LEFT_OUT = (
    ("delete", "/admin/v1/keys/{key_id}"),
    ("post", "/admin/v1/keys/{key_id}/rotate"),
    ("post", "/admin/v1/models/{model}/load"),
    ("post", "/admin/v1/models/{model}/unload"),
    ("get", "/admin/v1/events"),
)
_LONGEST_REQUEST = 20
_PATIENCE = "10000"  # milliseconds; of a drawn deadline of one, 504 is the right answer
_GRACE = 120  # seconds: the budget is for the cases, not for the start and the report


def main() -> int:
    seconds = int(os.environ.get("SECONDS", "120"))
    with running_stack() as stack:
        own = own_description(stack, seconds)
        protocol = protocol_description(stack, seconds)
    return own.returncode or protocol.returncode


def own_description(
    stack: RunningStack, seconds: int, *, seed: int | None = None, quiet: bool = False
) -> "subprocess.CompletedProcess[str]":
    """What /docs/openapi.json promises, with a key that may do everything."""
    answer = httpx.get(f"{stack.url}/docs/openapi.json", trust_env=False, timeout=30).raise_for_status()
    operations = answer.json()["paths"]
    excluded = [
        f"--exclude-operation-id={operations[path][method]['operationId']}" for method, path in LEFT_OUT
    ]
    return _run(stack, answer.content, stack.admin_key, seconds, seed, *excluded, quiet=quiet)


def protocol_description(
    stack: RunningStack, seconds: int, *, seed: int | None = None, quiet: bool = False
) -> "subprocess.CompletedProcess[str]":
    """What the Open Inference Protocol promises, with a key for inference."""
    return _run(stack, PROTOCOL.read_bytes(), stack.key, seconds, seed, quiet=quiet)


def _run(
    stack: RunningStack,
    description: bytes,
    key: str,
    seconds: int,
    seed: int | None,
    *words: str,
    quiet: bool,
) -> "subprocess.CompletedProcess[str]":
    """The exit status is 0 where nothing was found; the output is kept only if `quiet`."""
    command = [sys.executable, "-P", "-m", "schemathesis.cli", "run", "description.yaml", "--url", stack.url]
    command += ["--header", f"X-API-Key: {key}", "--generation-with-security-parameters", "false"]
    command += ["--header", f"X-Request-Timeout: {_PATIENCE}"]
    command += ["--checks", ",".join(CHECKS), "--warnings", "off"]
    command += ["--phases", "examples,coverage,fuzzing", "--max-time", str(seconds), "--continue-on-failure"]
    command += ["--request-timeout", str(_LONGEST_REQUEST), "--no-shrink", "--no-color", *words]
    command += [] if seed is None else ["--seed", str(seed)]
    with tempfile.TemporaryDirectory() as folder:  # it keeps a cache where it is started
        Path(folder, "description.yaml").write_bytes(description)  # JSON is YAML
        return subprocess.run(
            command, check=False, text=True, capture_output=quiet, timeout=seconds + _GRACE, cwd=folder
        )


if __name__ == "__main__":
    sys.exit(main())
