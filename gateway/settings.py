"""The only reader of the environment: every setting, typed, bounded and frozen."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_MIB = 1024 * 1024


class Settings(BaseSettings):
    """Each field is the environment variable `GATEWAY_<FIELD>`; `docs/configuration.md` is made from this class."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=1, le=65535, description="Port to listen on.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes.")
    triton_url: str = Field(
        "127.0.0.1:8001", pattern=r"^[^/\s]+:\d+$", description="host:port of Triton's gRPC service."
    )
    catalog_interval: float = Field(
        1.0, ge=0.1, le=60, description="Seconds between two readings of Triton's models."
    )
    request_timeout: float = Field(
        10.0, gt=0, le=300, description="Seconds from the first byte of a request to its answer."
    )
    body_timeout: float = Field(
        15.0, gt=0, le=300, description="Seconds that a caller may take to send a body."
    )
    max_body_bytes: int = Field(10 * _MIB, ge=1024, description="Largest body of one request.")
    max_buffered_bytes: int = Field(
        256 * _MIB, ge=1024, description="Bodies held in memory at once, all requests of a worker together."
    )
    max_inputs: int = Field(16, ge=1, le=256, description="Images in one request.")
    max_image_pixels: int = Field(40_000_000, ge=1, description="Largest image, width times height.")
    max_image_side: int = Field(8192, ge=1, le=65535, description="Longest side of an image.")
    decode_threads: int = Field(2, ge=1, le=64, description="Threads that decode images, per worker.")
    decode_queue: int = Field(64, ge=1, description="Images that may wait for a decoding thread, per worker.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least urgent line.")
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="`auto`: readable on a terminal, JSON elsewhere."
    )
