"""What a configuration does to urgency, deadlines and floods, by release."""

import pytest
from google.protobuf import text_format
from stack import ROOT
from tritonclient.grpc import model_config_pb2

from gateway.doctor.queues import queue_findings
from gateway.upstream.described import as_json

OLD, NEW = (2, 51, 0), (2, 75, 0)
WHOLE = "default_timeout_microseconds: 30000000 allow_timeout_override: true max_queue_size: 128"


def codes(text: str, release: tuple[int, ...]) -> list[str]:
    message = text_format.Parse(text, model_config_pb2.ModelConfig())
    return [finding.code for finding in queue_findings("pets", as_json(message), release)]


def batching(text: str) -> str:
    return f"max_batch_size: 8 dynamic_batching {{ {text} }}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("max_batch_size: 8", ["no-batching"]),
        ("max_batch_size: 0", ["no-batching"]),
        ("max_batch_size: 8 ensemble_scheduling { }", []),
        ("max_batch_size: 8 sequence_batching { }", []),
        ("model_transaction_policy { decoupled: true }", []),
        (batching(""), ["priority-dropped", "deadline-dropped", "unbounded-queue"]),
        (batching(f"priority_levels: 3 default_priority_level: 2 default_queue_policy {{ {WHOLE} }}"), []),
        (
            batching(f"priority_levels: 2 default_priority_level: 2 default_queue_policy {{ {WHOLE} }}"),
            ["priority-beyond"],
        ),
        (
            batching(
                "priority_levels: 3 default_priority_level: 2 default_queue_policy { allow_timeout_override: true "
                "max_queue_size: 9 }"
            ),
            ["deadline-dropped"],
        ),
        (
            batching(f"priority_levels: 3 default_queue_policy {{ {WHOLE} timeout_action: DELAY }}"),
            ["late-work"],
        ),
        (
            batching(
                f"priority_levels: 3 default_queue_policy {{ {WHOLE} }} priority_queue_policy {{ key: 3 value {{ "
                "max_queue_size: 9 } }"
            ),
            ["deadline-dropped"],
        ),
    ],
    ids=[
        "no batcher",
        "no batches",
        "an ensemble",
        "sequences",
        "answers one by one",
        "a batcher with nothing set",
        "everything set",
        "a level too few",
        "an override without a default",
        "late requests run",
        "a policy of one level's own",
    ],
)
def test_on_a_release_whose_batcher_is_sound(text: str, found: list[str]) -> None:
    assert codes(text, NEW) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("max_queue_delay_microseconds: 1000", []),
        ("priority_levels: 3 default_priority_level: 2", ["batcher-stalls"]),
        ("default_queue_policy { max_queue_size: 9 }", ["batcher-stalls"]),
        ("default_queue_policy { }", []),
        ("priority_queue_policy { key: 1 value { max_queue_size: 9 } }", ["batcher-stalls"]),
    ],
    ids=["nothing", "a delay alone", "levels", "a bound", "an empty policy", "a level's bound"],
)
def test_on_a_release_whose_batcher_stalls(text: str, found: list[str]) -> None:
    assert codes(batching(text), OLD) == found


@pytest.mark.parametrize(
    ("profile", "release"),
    [("config.pbtxt", NEW), ("configs/cpu.pbtxt", OLD)],
    ids=["the GPU profile on a new release", "the CPU profile on an old one"],
)
def test_the_models_that_come_along_are_right_for_the_release_they_are_for(
    profile: str, release: tuple[int, ...]
) -> None:
    files = sorted((ROOT / "model_repository").glob(f"*/{profile}"))
    assert len(files) >= 3
    assert {path.parent.name: codes(path.read_text(), release) for path in files} == {
        path.parent.name: [] for path in files
    }
