"""What the control of models takes and answers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from gateway.catalog import ModelCard
from gateway.control import ModelState, VersionState


class _Control(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class UnloadRequest(_Control):
    force: bool = Field(default=False, description="Even what a route or a default needs.")


class LoadRequest(_Control):
    config: dict[str, Any] | None = Field(
        default=None,
        description="Merged into the model's configuration (RFC 7396) until the model is unloaded. How it is "
        "scheduled, and gateway.* parameters; nothing that names a file, a program or another model.",
        examples=[{"dynamic_batching": {"max_queue_delay_microseconds": 2000}}],
    )
    force: bool = Field(
        default=False, description="Even a change that takes away what is needed, or that does not hold."
    )


class Batches(_Control):
    size: int
    executions: int


class Statistics(_Control):
    """Since the version was loaded; times are means over its requests, in milliseconds."""

    requests: int
    failures: int
    executions: int
    mean_batch: float | None
    queue_ms: float | None
    input_ms: float | None
    compute_ms: float | None
    output_ms: float | None
    batches: list[Batches]
    last_request: AwareDatetime | None


class ReplicaView(_Control):
    """One Triton. `state` is its own: READY, LOADING, UNLOADING, UNAVAILABLE; UNREACHABLE where it does not answer."""

    endpoint: str
    state: str
    reason: str


class VersionView(_Control):
    """`state` is Triton's: READY, LOADING, UNLOADING, UNAVAILABLE. Of several, READY where one is; see `replicas`."""

    version: str
    state: str
    reason: str
    statistics: Statistics | None
    replicas: list[ReplicaView] = Field(default_factory=list)


class ModelView(_Control):
    """`callable`: requests to it are answered. `reason`: why not, where no version says it, or what of
    its configuration does not hold. `needed`: what stands against unloading it.
    """

    name: str
    task: str | None
    callable: bool
    reason: str
    default_version: str | None
    needed: list[str]
    versions: list[VersionView]


class RepositoryView(_Control):
    models: list[ModelView]


def model_view(state: ModelState) -> ModelView:
    card = state.card
    stable = state.route.stable if state.route else card.default_version if card else None
    return ModelView(
        name=state.name,
        task=str(card.task) if isinstance(card, ModelCard) else None,
        callable=state.answers,
        reason=state.reason,
        default_version=stable,
        needed=state.needed,
        versions=[_version(version) for version in state.versions],
    )


def _version(version: VersionState) -> VersionView:
    known = version.statistics
    return VersionView(
        version=version.version,
        state=version.state,
        reason=version.reason,
        statistics=None if known is None else _statistics(known),
        replicas=[
            ReplicaView(endpoint=each.endpoint, state=each.state, reason=each.reason)
            for each in version.replicas
        ],
    )


def _statistics(known: Mapping[str, Any]) -> Statistics:
    times, executions = known["inference_stats"], known["execution_count"]
    last = known["last_inference"]
    return Statistics(
        requests=times["success"]["count"],
        failures=times["fail"]["count"],
        executions=executions,
        mean_batch=round(known["inference_count"] / executions, 2) if executions else None,
        queue_ms=_mean(times["queue"]),
        input_ms=_mean(times["compute_input"]),
        compute_ms=_mean(times["compute_infer"]),
        output_ms=_mean(times["compute_output"]),
        batches=_batches(known["batch_stats"]),
        last_request=datetime.fromtimestamp(last / 1000, UTC) if last else None,
    )


def _mean(duration: Mapping[str, int]) -> float | None:
    return round(duration["ns"] / duration["count"] / 1e6, 3) if duration["count"] else None


def _batches(known: Sequence[Mapping[str, Any]]) -> list[Batches]:
    return [Batches(size=each["batch_size"], executions=each["compute_infer"]["count"]) for each in known]
