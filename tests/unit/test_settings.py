"""Settings are read once, checked offline, and documented."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest
from pydantic import ValidationError
from stack import ROOT

from gateway.assembly.checks import check as check_together
from gateway.domain import Priority
from gateway.settings import Settings, SettingsError

SECRETS = {"GATEWAY_KEY_PEPPER": "p" * 32, "GATEWAY_TOKEN_SECRET": "t" * 32}

REQUIRED = {"key_pepper": "p" * 32, "token_secret": "t" * 32}


def check(
    less: Mapping[str, None] = MappingProxyType({}),
    *,
    command: Sequence[str] = ("check-config",),
    **environment: str,
) -> "subprocess.CompletedProcess[str]":
    """`gateway check-config`, or another command, with these variables, and without those in `less`."""
    variables = {**os.environ, **SECRETS, **environment}
    return subprocess.run(
        [sys.executable, "-P", "-m", "gateway", *command],
        env={name: value for name, value in variables.items() if name not in less},
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
        ("GATEWAY_CORS_ORIGINS", "https://app.example:443"),
        ("GATEWAY_REDIS_URL", "http://127.0.0.1"),
        ("GATEWAY_REDIS_URL", "redis+sentinel://127.0.0.1"),
    ],
)
def test_a_wrong_setting_is_named_without_a_traceback(name: str, value: str) -> None:
    result = check(**{name: value})
    assert result.returncode == 1
    assert f"{name}:" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("GATEWAY_WORKER", "; GATEWAY_WORKERS is one\n"),
        ("GATEWAY_MAX_IMAGES_PIXELS", "; GATEWAY_MAX_IMAGE_PIXELS is one\n"),
        ("GATEWAY_FOO", "\n"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_the_one_that_may_be_meant(name: str, told: str) -> None:
    result = check(**{name: "2"})
    assert f"warning: {name} is not a setting and does nothing{told}" in result.stderr
    assert result.returncode == 0
    assert result.stdout == check().stdout


def test_what_clients_and_the_command_line_read_is_not_taken_for_a_wrong_setting() -> None:
    told = check(
        GATEWAY_URL="http://127.0.0.1", GATEWAY_KEY="k", GATEWAY_ADMIN_KEY="k", GATEWAY_WORKERS="2"
    ).stderr
    assert not any(f"{name} " in told for name in ("GATEWAY_URL", "GATEWAY_KEY", "GATEWAY_ADMIN_KEY"))


@pytest.mark.parametrize("command", ["check-config", "doctor"])
def test_files_that_the_settings_name_are_read_and_each_that_is_wrong_is_named(
    tmp_path: Path, command: str
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes:\n  digits: {stable: 1, wheight: 5%}\n")
    missing = tmp_path / "access.toml"
    result = check(command=[command], GATEWAY_ACCESS_FILE=str(missing), GATEWAY_ROUTES_FILE=str(routes))
    assert result.returncode == 1
    access, wrong = result.stderr.splitlines()[-2:]
    assert access.startswith(f"GATEWAY_ACCESS_FILE: {missing}: ")
    assert wrong.startswith(f"GATEWAY_ROUTES_FILE: {routes}: routes.digits.wheight")


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("triton_url", "triton:99999", "'triton:99999' is not host:port"),
        ("triton_url", "a:8001, http://b:1", "'http://b:1' is not host:port"),
        ("trace_endpoint", "collector:4318", "such as http://collector:4318/v1/traces"),
        ("cors_origins", "https://app.example,http://a:99999", "'http://a:99999' is not an origin"),
        ("cors_origins", "http://app.example:80", "as browsers write it, such as https://app.example or"),
        ("metrics_networks", "::1/128,10.0.0.1/8", "10.0.0.0/8 is the network"),
        ("metrics_networks", "everybody", "'everybody' is not a network"),
    ],
)
def test_what_is_written_wrongly_is_told_once_and_in_words(field: str, value: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({**REQUIRED, field: value})
    (fault,) = raised.value.errors()
    assert fault["loc"] == (field,)
    assert sentence in fault["msg"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"request_timeout": 60}, "GATEWAY_REQUEST_TIMEOUT: 60 is more than GATEWAY_MAX_REQUEST_TIMEOUT, 30"),
        ({"max_buffered_bytes": 2048}, "GATEWAY_MAX_BUFFERED_BYTES: 2048 has no room for one body"),
        (
            {"max_buffered_bytes": 2 * 32 * 1024 * 1024 - 1},
            "GATEWAY_MAX_BUFFERED_BYTES: 67108863 is less than twice GATEWAY_MAX_TENSOR_BYTES, 33554432",
        ),
        *(
            (
                {"redis_url": url},
                "GATEWAY_REDIS_URL: an option behind its question mark is none of the client's",
            )
            for url in (
                "redis://h/0?bogus=1",
                "redis://h/0?ssl_ca_certs=/ca.pem",
                "rediss://h/0?ssl_cert_reqs=perhaps",
                "redis+cluster://h/?bogus=1",
                "redis+sentinel://h/mymaster?bogus=1",
                "redis+sentinel://h/mymaster?sentinel_bogus=1",
            )
        ),
        ({"model_repository": "/no/such"}, "GATEWAY_MODEL_REPOSITORY: /no/such is not a folder"),
    ],
)
def test_what_contradicts_other_settings_or_is_not_there_is_told(
    fields: dict[str, object], sentence: str
) -> None:
    settings = Settings.model_validate({**REQUIRED, **fields})
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        check_together(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:p@h/0?client_name=me&health_check_interval=5",
        "rediss://h/0?ssl_cert_reqs=none",
        "redis+cluster://h/?client_name=me",
        "redis+sentinel://h/mymaster?sentinel_username=me",
    ],
)
def test_options_that_the_client_has_are_taken(url: str) -> None:
    check_together(Settings.model_validate({**REQUIRED, "redis_url": url}))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"host": "no such host"}, "GATEWAY_HOST: no such host cannot be resolved"),
        ({"host": "a" * 64 + ".example"}, "cannot be resolved"),
        (
            {"redis_url": "rediss://h/0?ssl_ca_certs=/no/such.pem"},
            "GATEWAY_REDIS_URL: there is nothing at the place that ssl_ca_certs names",
        ),
        (
            {"workers": 2, "metrics_dir": "/proc/metrics"},
            "GATEWAY_METRICS_DIR: metrics cannot be kept in /proc/metrics",
        ),
        ({"workers": 2, "metrics_dir": "/etc"}, "GATEWAY_METRICS_DIR: metrics"),
    ],
)
def test_what_this_machine_could_not_serve_with_is_told_where_it_is_to_serve(
    fields: dict[str, object], sentence: str
) -> None:
    settings = Settings.model_validate({**REQUIRED, **fields})
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        check_together(settings, here=True)
    check_together(settings)


def test_a_folder_for_metrics_is_checked_and_neither_made_nor_touched(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "metrics"
    settings = Settings.model_validate({**REQUIRED, "workers": 2, "metrics_dir": folder})
    check_together(settings, here=True)
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)
    check_together(settings, here=True)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("field", ["key_pepper", "token_secret"])
def test_a_secret_of_blanks_is_none_and_characters_are_what_is_counted(field: str) -> None:
    with pytest.raises(ValidationError, match="fewer than 32 characters"):
        Settings.model_validate({**REQUIRED, field: "\t" * 40})
    with pytest.raises(ValidationError, match="fewer than 32 characters"):
        Settings.model_validate({**REQUIRED, field: "x" * 31})
    Settings.model_validate({**REQUIRED, field: "x" * 32})


def test_an_empty_host_is_told() -> None:
    with pytest.raises(ValidationError, match="it is empty"):
        Settings.model_validate({**REQUIRED, "host": ""})


@pytest.mark.parametrize("field", ["metrics_dir", "model_repository", "access_file", "routes_file"])
def test_an_empty_path_is_as_none(field: str) -> None:
    assert getattr(Settings.model_validate({**REQUIRED, field: ""}), field) is None


@pytest.mark.parametrize("command", ["check-config", "serve"])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_not_there_ends_with_1_before_anything_is_started(command: str, workers: str) -> None:
    told = check(command=[command], GATEWAY_MODEL_REPOSITORY="/no/such", GATEWAY_WORKERS=workers)
    assert told.returncode == 1
    assert "GATEWAY_MODEL_REPOSITORY: /no/such is not a folder" in told.stderr
    assert "running on" not in told.stderr + told.stdout


def test_doctor_says_what_is_wrong_with_an_address_of_a_store() -> None:
    result = check(command=["doctor", "--redis-url", "foo"])
    assert result.returncode == 2
    assert "'--redis-url': it begins with redis://" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_error_of_the_settings_holds_no_value_of_them() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(key_pepper="a-short-secret", token_secret="t" * 32)
    assert "a-short-secret" not in str(raised.value)


def test_an_empty_endpoint_for_traces_is_none() -> None:
    assert "GATEWAY_TRACE_ENDPOINT=None\n" in check(GATEWAY_TRACE_ENDPOINT="").stdout


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    for name, text in (
        ("pepper", "p" * 40),
        ("token", "t" * 40),
        ("redis", "redis://gateway:word@store:6379/0"),
    ):
        (tmp_path / name).write_text(f"{text}\n")
    result = check(
        {"GATEWAY_REDIS_URL": None, "GATEWAY_KEY_PEPPER": None, "GATEWAY_TOKEN_SECRET": None},
        GATEWAY_KEY_PEPPER_FILE=str(tmp_path / "pepper"),
        GATEWAY_TOKEN_SECRET_FILE=str(tmp_path / "token"),
        GATEWAY_REDIS_URL_FILE=str(tmp_path / "redis"),
    )
    assert result.returncode == 0, result.stderr
    assert "GATEWAY_REDIS_URL=redis://…@store:6379/0\n" in result.stdout
    assert "pppp" not in result.stdout + result.stderr


def test_no_password_of_a_store_is_printed() -> None:
    url = "redis+sentinel://ann:hidden@a,b/mymaster?sentinel_password=hidden&sentinel_username=bob"
    result = check(GATEWAY_REDIS_URL=url)
    shown = "redis+sentinel://…@a,b/mymaster?sentinel_password=…&sentinel_username=bob"
    assert f"GATEWAY_REDIS_URL={shown}\n" in result.stdout
    assert "hidden" not in result.stdout


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("p" * 40, "are both set"), (None, "cannot be read")],
    ids=["a secret in both places", "a file that is not there"],
)
def test_a_secret_that_is_unclear_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        (tmp_path / "pepper").write_text(text)
    less: dict[str, None] = {} if text is not None else {"GATEWAY_KEY_PEPPER": None}
    result = check(less, GATEWAY_KEY_PEPPER_FILE=str(tmp_path / "pepper"))
    assert result.returncode == 1
    assert "GATEWAY_KEY_PEPPER_FILE" in result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_every_setting_stands_in_the_documentation() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    missing = [name for name in Settings.model_fields if f"`GATEWAY_{name.upper()}`" not in text]
    assert missing == []


def test_a_waiting_room_without_a_place_for_each_priority_is_refused_before_any_request() -> None:
    result = check(GATEWAY_WAITING_ROOM=str(len(Priority) - 1))
    assert result.returncode == 1
    assert "GATEWAY_WAITING_ROOM" in result.stderr
    assert check(GATEWAY_WAITING_ROOM=str(len(Priority))).returncode == 0
