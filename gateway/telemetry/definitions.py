"""Every metric of the gateway: its name, its labels, how many of them there may be. `docs/metrics.md` shows this table.

Labels come from closed sets: routes, models that Triton serves, words of our own; never from what a caller writes. Each
metric holds at most `most` sets of labels, so that the sum of them all is below 2,000 series whatever happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

_MODELS = 22
_VERSIONS = 2 * _MODELS  # a stable version and a canary of each
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STAGE_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)
_BYTES = (1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0)


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Across(StrEnum):
    """How the gauges of the workers that live become one."""

    EACH = "liveall"  # one series a worker, with its number as `pid`
    SUM = "livesum"
    LEAST = "livemin"
    MOST = "livemax"


@dataclass(frozen=True, slots=True)
class Definition:
    """What comes beyond `most` sets of labels counts under "other", with its `kept` labels as they are."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    most: int = 1
    kept: tuple[str, ...] = ()
    across: Across = Across.SUM
    buckets: Sequence[float] = ()


def _counter(
    name: str, text: str, labels: tuple[str, ...] = (), most: int = 1, kept: tuple[str, ...] = ()
) -> Definition:
    return Definition(name, Kind.COUNTER, text, labels, most, kept)


def _gauge(
    name: str, text: str, labels: tuple[str, ...] = (), most: int = 1, *, across: Across
) -> Definition:
    return Definition(name, Kind.GAUGE, text, labels, most, across=across)


def _histogram(
    name: str, text: str, labels: tuple[str, ...] = (), most: int = 1, *, buckets: Sequence[float] = _SECONDS
) -> Definition:
    return Definition(name, Kind.HISTOGRAM, text, labels, most, buckets=buckets)


_MODEL = ("model",)
_VERSION = ("model", "version")
_VARIANT = ("model", "version", "variant")

REQUESTS = _counter(
    "gateway_requests_total",
    "Answered requests. route: its template. model, version, variant: who was to answer, where that was decided. "
    "priority: the class applied. code: the HTTP status, 499 where the caller had left.",
    ("route", *_VARIANT, "priority", "code"),
    most=365,
    kept=("code",),
)
PROBLEMS = _counter(
    "gateway_problems_total", "Answers that are a problem, by its code.", ("problem",), most=60
)
REQUEST_SECONDS = _histogram(
    "gateway_request_seconds",
    "From the first byte of a request to its answer, where a version was chosen.",
    _VARIANT,
    most=_VERSIONS,
)
STAGE_SECONDS = _histogram(
    "gateway_stage_seconds",
    "Time by stage: auth, limit, body, fetch (of images by URL), decode, queue (the turn to call the model), "
    "triton, post.",
    ("route", "stage"),
    most=23,
    buckets=_STAGE_SECONDS,
)
IN_FLIGHT = _gauge(
    "gateway_requests_in_flight",
    "Requests that are being answered, all workers; without probes and scrapes.",
    across=Across.SUM,
)
STREAMS = _gauge("gateway_streams", "Streams that are open, all workers.", across=Across.SUM)
FRAMES_DROPPED = _counter(
    "gateway_stream_frames_dropped_total",
    "Frames of streams that were thrown away: a newer one took their place, or there was no room beside the one that "
    "waits.",
)
PAYLOAD_BYTES = _histogram("gateway_payload_bytes", "Size of bodies with images.", buckets=_BYTES)
IMAGE_BYTES = _histogram("gateway_image_bytes", "Size of each image, encoded.", buckets=_BYTES)
IMAGE_FETCHES = _counter(
    "gateway_image_fetches_total",
    "Images that requests named by URL. outcome: fetched; refused where the URL is not allowed; failed.",
    ("outcome",),
    most=3,
)

SHED = _counter(
    "gateway_shed_total",
    "Requests refused for lack of room. model: none where it was not chosen yet.",
    ("model", "priority"),
    most=60,
)
LIMITED = _counter(
    "gateway_limited_total",
    "Charges beyond a quota. reason: quota, in_flight, impossible, store_away. enforced: no for a shadow tier.",
    ("tier", "reason", "enforced"),
    most=30,
)
LIMITS_LOCAL = _counter(
    "gateway_limits_local_total", "Charges decided without Redis, under this worker's share of the quota."
)
LIMITS_CHANGES = _counter(
    "gateway_limits_changes_total",
    "Times that a worker took the limits for its own (open) and shared them again (closed).",
    ("state",),
    most=2,
)

ATTEMPTS = _counter(
    "gateway_attempts_total",
    "Calls of a version, also where another one answered in the end; those at which a canary and then the stable "
    "version failed are the stable one's. variant: shadow for mirrored calls, fallback for those of the stable version "
    "in a canary's place, breaker for those not made because the breaker is open, away for those of the stable version "
    "that no Triton could be asked. outcome: ok, error.",
    (*_VARIANT, "outcome"),
    most=130,
)
RETRIES = _counter(
    "gateway_retries_total", "Calls to Triton that were made a second time.", _VERSION, most=_VERSIONS
)
ENDPOINT_CALLS = _counter(
    "gateway_endpoint_calls_total",
    "Calls to Triton by its address. outcome: ok, error.",
    ("endpoint", "outcome"),
    most=32,
)
ENDPOINTS = _gauge("gateway_endpoints", "Tritons that are known; the most of any worker.", across=Across.MOST)
ENDPOINTS_ANSWERING = _gauge(
    "gateway_endpoints_answering",
    "Of those, the ones that answered when they were last asked; the fewest of any worker.",
    across=Across.LEAST,
)
FALLBACKS = _counter(
    "gateway_fallbacks_total", "Requests that the stable version took over.", _MODEL, most=_MODELS
)
BREAKERS = _gauge(
    "gateway_breakers",
    "Workers whose breaker for this version, on any Triton, is in this state: open, half_open.",
    (*_VERSION, "state"),
    most=2 * _VERSIONS,
    across=Across.SUM,
)
BREAKER_CHANGES = _counter(
    "gateway_breaker_changes_total", "Changes of a breaker, by the state that it took.", ("state",), most=3
)
CALLS_IN_FLIGHT = _gauge(
    "gateway_calls_in_flight",
    "Calls to Triton under way, all workers.",
    _VERSION,
    most=_VERSIONS,
    across=Across.SUM,
)
CALLS_LIMIT = _gauge(
    "gateway_calls_limit",
    "Calls that may be under way now, all workers; it adapts to latency.",
    _VERSION,
    most=_VERSIONS,
    across=Across.SUM,
)
CALLS_WAITING = _gauge(
    "gateway_calls_waiting", "Requests that wait for their turn.", ("priority",), most=3, across=Across.SUM
)

CANARY_WEIGHT = _gauge(
    "gateway_canary_weight",
    "Share of callers on the canary, in basis points; the largest that any worker applies.",
    _MODEL,
    most=_MODELS,
    across=Across.MOST,
)
ROUTE_GENERATION = _gauge(
    "gateway_route_generation",
    "Generation of the route that each worker applies; 0 for a route that was deleted.",
    _MODEL,
    most=_MODELS,
    across=Across.EACH,
)
COMPARED = _counter(
    "gateway_canary_compared_total", "Images that the canary answered too.", _VERSION, most=_MODELS
)
AGREED = _counter(
    "gateway_canary_agreed_total", "Of those, the ones with the same answer.", _VERSION, most=_MODELS
)
HEALING = _counter(
    "gateway_model_healing_total",
    "Processes of models that died. outcome: found; healed or failed where the gateway may heal them.",
    ("model", "outcome"),
    most=30,
)
ROLLBACKS = _counter(
    "gateway_canary_rollbacks_total",
    "Rollouts taken back. reason: errors, latency, agreement or breaker by the guard; lease where nobody renewed it; "
    "operator.",
    ("model", "reason"),
    most=40,
)

CATALOG_MODELS = _gauge(
    "gateway_catalog_models", "Models that can be called; the fewest of any worker.", across=Across.LEAST
)
CATALOG_GENERATION = _gauge(
    "gateway_catalog_generation",
    "How often each worker's list of models has changed since it started.",
    across=Across.EACH,
)
FRESH = _gauge(
    "gateway_fresh",
    "1 where every worker's copy is confirmed, 0 where one goes on with an older one. part: catalog, keys, "
    "denied_tokens, routes; limits: 0 where a worker decides without Redis; changes: 0 where Redis takes none.",
    ("part",),
    most=6,
    across=Across.LEAST,
)
ROUTES_UNREADABLE = _gauge(
    "gateway_routes_unreadable", "Routes in Redis that a worker cannot read.", across=Across.MOST
)
SPANS = _counter(
    "gateway_trace_spans_total",
    "Spans of traced requests. outcome: sent; failed where the collector did not take them; dropped for lack of room.",
    ("outcome",),
    most=3,
)
LOG_LINES_DROPPED = _counter(
    "gateway_log_lines_dropped_total",
    "Log lines given up because nobody took them from this process fast enough.",
)
TASK_FAILURES = _counter(
    "gateway_task_failures_total",
    "Times that a task beside the requests failed and was to begin again; the log says which and why.",
)
WORKERS = _gauge("gateway_workers", "Workers that live.", across=Across.SUM)
WORKER_DEATHS = _counter(
    "gateway_worker_deaths_total",
    "Workers that ended without being told to, were silent for too long, or could not start; none where there is one "
    "process only.",
)

ALL = tuple(value for value in list(vars().values()) if isinstance(value, Definition))  # in this order
