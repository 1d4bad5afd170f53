"""What a change of a model's configuration may have, and what it may not."""

from typing import Any

import pytest

from gateway.control.changes import refused


@pytest.mark.parametrize(
    "change",
    [
        {"dynamic_batching": {"priority_levels": 2, "default_queue_policy": {"max_queue_size": 8}}},
        {"instance_group": [{"count": 2, "rate_limiter": {"resources": [{"name": "R", "count": 1}]}}]},
        {"version_policy": {"specific": {"versions": [1]}}, "max_batch_size": 8},
        {"parameters": {"gateway.top_k": "3", "gateway.labels": None}},
        {"parameters": None, "sequence_batching": {"max_sequence_idle_microseconds": 1, "oldest": {}}},
        {"parameters": "none", "sequence_batching": []},
    ],
    ids=["a queue", "instances", "versions and batches", "the gateway's own", "sequences", "no objects"],
)
def test_how_a_model_is_scheduled_and_what_the_gateway_makes_of_it_may_be_changed(
    change: dict[str, Any],
) -> None:
    assert refused(change) == []


@pytest.mark.parametrize(
    ("change", "where", "name"),
    [
        ({"output": [{"name": "F", "label_filename": "../../etc/passwd"}]}, "/config", "output"),
        ({"default_model_filename": "../evil.py"}, "/config", "default_model_filename"),
        ({"defaultModelFilename": "../evil.py"}, "/config", "defaultModelFilename"),
        ({"cc_model_filenames": {"8.0": "../evil.py"}}, "/config", "cc_model_filenames"),
        ({"backend": "none_such"}, "/config", "backend"),
        ({"platform": "ensemble"}, "/config", "platform"),
        ({"ensemble_scheduling": {"step": []}}, "/config", "ensemble_scheduling"),
        ({"model_warmup": [{"inputs": {"a": {"input_data_file": "../x"}}}]}, "/config", "model_warmup"),
        ({"model_operations": {"op_library_filename": ["x.so"]}}, "/config", "model_operations"),
        ({"model_repository_agents": {"agents": [{"name": "x"}]}}, "/config", "model_repository_agents"),
        ({"optimization": {"execution_accelerators": {}}}, "/config", "optimization"),
        ({"parameters": {"EXECUTION_ENV_PATH": "/tmp/x"}}, "/config/parameters", "EXECUTION_ENV_PATH"),
        ({"sequence_batching": {"state": [{}]}}, "/config/sequence_batching", "state"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_names_a_file_a_program_or_another_model_may_not(
    change: dict[str, Any], where: str, name: str
) -> None:
    (error,) = refused({"max_batch_size": 4, **change})
    assert error.pointer == where
    assert error.detail == f"{name} stands in config.pbtxt alone."
