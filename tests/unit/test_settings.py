"""Settings are read once, checked offline, and documented."""

import os
import subprocess
import sys

import pytest
from stack import ROOT

from gateway.settings import Settings

SECRETS = {"GATEWAY_KEY_PEPPER": "p" * 32, "GATEWAY_TOKEN_SECRET": "t" * 32}


def check(**environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "check-config"],
        env={**os.environ, **SECRETS, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_settings_are_printed_when_they_are_right() -> None:
    result = check(GATEWAY_PORT="9090")
    assert result.returncode == 0
    assert "GATEWAY_PORT=9090" in result.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "many"),
        ("GATEWAY_PORT", "70000"),
        ("GATEWAY_TRITON_URL", "http://127.0.0.1:8001"),
        ("GATEWAY_REQUEST_TIMEOUT", "0"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("GATEWAY_KEY_PEPPER", "short"),
        ("GATEWAY_CORS_ORIGINS", "https://*.example"),
        ("GATEWAY_REDIS_URL", "http://127.0.0.1"),
    ],
)
def test_a_wrong_setting_is_named_without_a_traceback(name: str, value: str) -> None:
    result = check(**{name: value})
    assert result.returncode == 1
    assert f"{name}:" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_setting_stands_in_the_documentation() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    missing = [name for name in Settings.model_fields if f"`GATEWAY_{name.upper()}`" not in text]
    assert missing == []
