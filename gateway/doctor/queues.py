"""What a model's queue in Triton does with urgency, deadlines and floods; pure.

Triton drops a priority and a timeout without a word where the model's configuration does not ask for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.doctor.finding import Finding, error, warning
from gateway.domain import Priority

STALL_MENDED = (2, 72)  # container 26.08; before it a queue with policies loses 500 ms at a time under load
_LIMITS = ("default_timeout_microseconds", "allow_timeout_override", "max_queue_size")

Config = Mapping[str, Any]


def queue_findings(model: str, config: Config, release: Sequence[int]) -> list[Finding]:
    """`config` is Triton's JSON for the model, `release` the server's, such as (2, 51, 0)."""
    if _has_no_batcher(config):
        return []
    subject = f"model {model}"
    batching = config.get("dynamic_batching")
    if batching is None:
        return [_no_batching(subject, config)]
    if tuple(release) < STALL_MENDED:
        return list(_stall(subject, batching, release))
    return [*_priorities(subject, batching), *_policies(subject, batching)]


def _has_no_batcher(config: Config) -> bool:
    """An ensemble, sequences, or answers that come one by one: nobody expects batches of these."""
    one_by_one = (config.get("model_transaction_policy") or {}).get("decoupled")
    return bool(one_by_one or "ensemble_scheduling" in config or "sequence_batching" in config)


def _no_batching(subject: str, config: Config) -> Finding:
    if not config.get("max_batch_size"):
        return warning(
            subject,
            "no-batching",
            "max_batch_size is 0: every request runs alone, and Triton's queue knows neither urgency nor a bound.",
            "Export the network with a free first dimension, set max_batch_size above 0 and add dynamic_batching { }.",
        )
    return warning(
        subject,
        "no-batching",
        "dynamic_batching is not set: every request runs alone, and Triton's queue knows neither urgency nor a bound.",
        "Add dynamic_batching { max_queue_delay_microseconds: 1000 } to config.pbtxt.",
    )


def _stall(subject: str, batching: Config, release: Sequence[int]) -> Iterator[Finding]:
    """On these releases it is right that nothing is set: the gateway orders and bounds its own waiting room."""
    named = [name for name in ("priority_levels", "default_priority_level") if batching.get(name)]
    policies = {"default_queue_policy": batching.get("default_queue_policy") or {}}
    policies |= {
        f"priority_queue_policy {level}": policy
        for level, policy in (batching.get("priority_queue_policy") or {}).items()
    }
    named += [name for name, policy in policies.items() if any(map(policy.get, _LIMITS))]
    if named:
        yield error(
            subject,
            "batcher-stalls",
            f"{' and '.join(named)} on Triton {'.'.join(map(str, release))}: its batcher then stops for 500 ms at a "
            "time under load (server issue 8870).",
            "Take them out (the gateway orders by urgency and bounds the queue itself), or take Triton 2.72 (container "
            "26.08) or later.",
        )


def _priorities(subject: str, batching: Config) -> Iterator[Finding]:
    levels, wanted = int(batching.get("priority_levels") or 0), max(Priority)
    if levels == 0:
        yield warning(
            subject,
            "priority-dropped",
            "priority_levels is not set: Triton drops the urgency of every request without a word.",
            f"Set dynamic_batching.priority_levels: {wanted:d} and default_priority_level: {Priority.STANDARD:d}.",
        )
    elif levels < wanted:
        yield warning(
            subject,
            "priority-beyond",
            f"priority_levels is {levels}, the gateway sends 1 to {wanted:d}: what is beyond falls to the default "
            f"level {batching.get('default_priority_level') or 0}, and may overtake.",
            f"Set priority_levels: {wanted:d}.",
        )


def _policies(subject: str, batching: Config) -> Iterator[Finding]:
    for name, policy in _in_effect(batching):
        if not policy.get("allow_timeout_override") or not policy.get("default_timeout_microseconds"):
            yield warning(
                subject,
                "deadline-dropped",
                f"{name} has no allow_timeout_override with a default_timeout_microseconds above 0: Triton drops the "
                "deadline of every request without a word, and works on what nobody waits for.",
                "Set allow_timeout_override: true and default_timeout_microseconds to the longest deadline (30000000).",
            )
        elif policy.get("timeout_action") == "DELAY":
            yield warning(
                subject,
                "late-work",
                f"{name} has timeout_action DELAY: a request whose deadline is over runs all the same, only later.",
                "Set timeout_action: REJECT.",
            )
        if not policy.get("max_queue_size"):
            yield warning(
                subject,
                "unbounded-queue",
                f"{name} has no max_queue_size: Triton's queue has no bound, and takes memory until there is none.",
                "Set max_queue_size, for instance 128.",
            )


def _in_effect(batching: Config) -> Iterator[tuple[str, Config]]:
    """The policies that hold for some level, by name, each once."""
    levels = int(batching.get("priority_levels") or 0)
    own: Mapping[str, Config] = batching.get("priority_queue_policy") or {}
    if levels == 0 or len(own) < levels:
        yield "default_queue_policy", batching.get("default_queue_policy") or {}
    for level, policy in sorted(own.items()):
        yield f"priority_queue_policy of level {level}", policy
