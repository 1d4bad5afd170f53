"""The only reader of the environment: every setting, typed, bounded and frozen."""

import difflib
import os
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway import spellings
from gateway.schemas import in_words
from gateway.store.address import parse

_MIB = 1024 * 1024
_FROM_FILES = ("key_pepper", "token_secret", "redis_url")  # those that hold a secret
_PREFIX = "GATEWAY_"
_SECRET = 32  # characters at least
_OTHERS = {"URL", "KEY", "ADMIN_KEY"}  # of clients and of the command line, which call a running gateway


class SettingsError(ValueError):
    """Nothing can be served with these settings; the message has one line for each variable that is wrong."""


class Settings(BaseSettings):
    """Each field is the environment variable `GATEWAY_<FIELD>`; `docs/configuration.md` is made from this class."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # it may be a secret
    )

    host: str = Field("127.0.0.1", description="Address to listen on; `::` is all, of IPv4 as well.")
    port: int = Field(8080, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes.")
    triton_url: str = Field(
        "127.0.0.1:8001",
        description="host:port of Triton's gRPC service; of several, with commas between. `dns:///host:port` is "
        "all addresses of the name, looked up every two seconds; see docs/replicas.md.",
    )
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="Where keys and limits are kept: redis://, or rediss:// with TLS; a cluster or sentinels as below.",
    )
    environment: str = Field(
        "dev", pattern=r"^[a-z0-9]{1,16}$", description="Stands in the text of new keys, as in gw_prod_…"
    )
    key_pepper: SecretStr = Field(
        description="Secret that keys are hashed with; the same on every replica, at least 32 characters.",
    )
    token_secret: SecretStr = Field(
        description="Secret that browser tokens are signed with; the same on every replica, at least 32 characters."
    )
    key_pepper_file: Path | None = Field(None, description="File with the pepper, in place of the variable.")
    token_secret_file: Path | None = Field(
        None, description="File with the token secret, in place of the variable."
    )
    redis_url_file: Path | None = Field(
        None, description="File with Redis's address and password, in place of the variable."
    )
    access_file: Path | None = Field(
        None,
        description="TOML file with tiers and token issuers; see docs/access.md. Without it: the built-in tiers.",
    )
    keys_grace: float = Field(
        3600.0,
        ge=0,
        description="Seconds that the last good set of keys serves while Redis is away; that it is, a worker "
        "notices within four.",
    )
    replicas: int = Field(
        1,
        ge=1,
        description="Gateways that share the quotas; each gets its share of them while Redis is away.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Origins of pages that may call, separated by commas; exact, for instance https://app.example.",
    )
    image_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Hosts that images may be fetched from where a request names them by URL, separated by commas; "
        "exact names, for instance images.example. Empty: none are fetched.",
    )
    model_repository: Path | None = Field(
        None,
        description="Folder of the models, as Triton has it: from <model>/tokenizer.json a model for texts has its "
        "vocabulary, from <model>/golden the pre-flight of a canary its golden inputs. Without it the former are "
        "unavailable and the latter are left out.",
    )
    routes_file: Path | None = Field(
        None,
        description="YAML or TOML file of routes, see docs/canary.md: gives a store that never had a route for a model "
        "its first one.",
    )
    keep_disagreements: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="Bytes up to which the image of a disagreement between stable version and canary is kept, in Redis "
        "and for a week; 0 keeps none.",
    )
    heal_models: bool = Field(
        False,
        description="Whether a model whose process died is unloaded and loaded again by the gateway, at most once a "
        "minute; its callers get 503 in between, also those of its other versions.",
    )
    catalog_interval: float = Field(
        1.0, ge=0.1, le=60, description="Seconds between two readings of Triton's models."
    )
    request_timeout: float = Field(
        10.0,
        gt=0,
        le=300,
        description="Seconds from the first byte of a request to its answer, unless it asks.",
    )
    max_request_timeout: float = Field(
        30.0, gt=0, le=300, description="The most that a request may ask for with X-Request-Timeout."
    )
    waiting_room: int = Field(
        64,
        ge=3,
        le=100_000,
        description="Requests that may wait for one model version, per worker; at least one of each priority.",
    )
    max_in_flight: int = Field(
        64,
        ge=2,
        le=10_000,
        description="Calls in flight to one model version, per worker, at the very most; fewer where the model's "
        "batches and instances make less use of them.",
    )
    drain_delay: float = Field(
        5.0,
        ge=0,
        le=300,
        description="Seconds between the signal to end and the end of listening. Meanwhile /readyz says no and every "
        "answer ends its connection, so that load balancers and clients go elsewhere; all requests are answered.",
    )
    header_timeout: float = Field(
        5.0, gt=0, le=60, description="Seconds that a caller may take to send the headers of a request."
    )
    body_timeout: float = Field(
        15.0, gt=0, le=300, description="Seconds that a caller may take to send a body."
    )
    max_peer_connections: int = Field(
        1024,
        ge=1,
        description="Connections that one address may hold open to one worker; a proxy in front is one address.",
    )
    max_body_bytes: int = Field(10 * _MIB, ge=1024, description="Largest body of one request.")
    max_tensor_bytes: int = Field(
        32 * _MIB,
        ge=1024,
        le=60 * _MIB,
        description="Largest body of one request with tensors on /v2, also after decompression; what is JSON in it has "
        "the bound of max_body_bytes.",
    )
    max_buffered_bytes: int = Field(
        256 * _MIB,
        ge=1024,
        description="Bodies held in memory at once, all requests of a worker together; of one tenant at most half, so "
        "it is at least twice max_tensor_bytes.",
    )
    max_frame_bytes: int = Field(2 * _MIB, ge=1024, le=64 * _MIB, description="Largest frame of a stream.")
    max_streams: int = Field(
        64,
        ge=4,
        le=10_000,
        description="Streams open at once, per worker; a quarter of them to one caller, half of them to one tenant.",
    )
    stream_idle: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Seconds without a frame after which a stream is closed; options are none.",
    )
    stream_seconds: float = Field(900.0, gt=0, le=86_400, description="Seconds that a stream may be open.")
    max_inputs: int = Field(16, ge=1, le=256, description="Images or texts in one request.")
    max_image_pixels: int = Field(40_000_000, ge=1, description="Largest image, width times height.")
    max_image_side: int = Field(8192, ge=1, le=65535, description="Longest side of an image.")
    decode_threads: int = Field(2, ge=1, le=64, description="Threads that decode images, per worker.")
    decode_queue: int = Field(64, ge=1, description="Images that may wait for a decoding thread, per worker.")
    metrics_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        description="Networks that may read /metrics without a key, separated by commas. Empty: nobody may.",
    )
    metrics_dir: Path | None = Field(
        None,
        description="Folder in which several workers keep their metrics, emptied at start; best in memory (tmpfs). "
        "Without it: a temporary one.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least urgent line.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto`: readable on a terminal, JSON elsewhere."
    )

    trace_endpoint: str | None = Field(
        None,
        description="Where spans are sent, by OTLP over HTTP: for instance http://collector:4318/v1/traces. Without it "
        "nothing is traced.",
    )
    trace_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of requests that is traced, where the caller's trace does not decide it.",
    )
    trace_slow: float = Field(
        1.0,
        ge=0,
        description="Seconds to the begin of an answer from which on a request is traced whatever the share.",
    )
    trace_service: str = Field(
        "triton-gateway", pattern=r"^\S{1,100}$", description="Name of this service in traces."
    )

    @model_validator(mode="before")
    @classmethod
    def _secrets_from_files(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """A secret stands in its variable or in a file, so that containers need no secret in their environment."""
        found = dict(values)
        for name in _FROM_FILES:
            path = values.get(f"{name}_file")
            if not path:
                continue
            variable = f"GATEWAY_{name.upper()}"
            if name in values:
                raise ValueError(f"{variable} and {variable}_FILE are both set: which one is meant?")
            try:
                found[name] = Path(path).read_text().strip()
            except (OSError, ValueError) as error:
                raise ValueError(f"{variable}_FILE: {path} cannot be read: {error}") from None
        return found

    @field_validator(
        "key_pepper_file",
        "token_secret_file",
        "redis_url_file",
        "access_file",
        "model_repository",
        "routes_file",
        "metrics_dir",
        "trace_endpoint",
        mode="before",
    )
    @classmethod
    def _unset(cls, value: object) -> object:
        """An empty variable is what compose makes of one that is not set; a path would be the folder one is in."""
        return value or None

    @field_validator("key_pepper", "token_secret")
    @classmethod
    def _secret(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value().strip()) < _SECRET:
            raise ValueError(f"it has fewer than {_SECRET} characters, not counting blanks at its ends")
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is empty; 0.0.0.0 stands for every address")
        return value

    @field_validator("triton_url")
    @classmethod
    def _triton(cls, value: str) -> str:
        return spellings.triton_addresses(value)

    @field_validator("redis_url")
    @classmethod
    def _store(cls, value: str) -> str:
        parse(value)
        return value

    @field_validator("trace_endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        return None if value is None else spellings.endpoint(value)

    @field_validator("metrics_networks", mode="before")
    @classmethod
    def _networks(cls, value: object) -> object:
        return spellings.networks(value) if isinstance(value, str) else value

    @field_validator("image_hosts", mode="before")
    @classmethod
    def _hosts(cls, value: object) -> object:
        return spellings.hosts(value) if isinstance(value, str) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return spellings.origins(value) if isinstance(value, str) else value


def unknown(environment: Mapping[str, str] = os.environ) -> Mapping[str, str | None]:
    """The variables that look like settings and are none, each with the setting that it may be meant for."""
    known = {name.upper() for name in Settings.model_fields}
    asked = {name.upper().removeprefix(_PREFIX) for name in environment if name.upper().startswith(_PREFIX)}
    return {
        _PREFIX + name: next((_PREFIX + close for close in difflib.get_close_matches(name, known, 1)), None)
        for name in sorted(asked - known - _OTHERS)
    }


def read_settings() -> Settings:
    """The settings of this process's environment. Raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("\n".join(_line(item["loc"], item["msg"]) for item in error.errors())) from None


def _line(place: tuple[int | str, ...], message: str) -> str:
    variable = [f"{_PREFIX}{part}".upper() for part in place[:1]]
    return ": ".join([*variable, in_words(message)])
