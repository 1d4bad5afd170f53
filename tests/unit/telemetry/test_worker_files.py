"""The folder that workers share: who may have it, and what stays of it."""

import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.metered import workers

from gateway.telemetry.worker_files import MetricsFolderError, folder_of_this_process, reserve, shared_folder


def test_the_name_of_the_folder_ends_with_its_block(tmp_path: Path) -> None:
    with shared_folder(tmp_path / "new" / "folder") as folder:
        assert folder_of_this_process() == folder
        assert folder.is_dir()
    assert folder_of_this_process() is None


def test_a_temporary_folder_leaves_nothing_behind() -> None:
    with shared_folder(None) as folder, workers(3):
        assert folder.is_dir()
    assert not folder.exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with (
        pytest.raises(MetricsFolderError, match=r"holds other things: letters\.txt"),
        shared_folder(tmp_path),
    ):
        pass
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(MetricsFolderError, match=r"metrics cannot be kept in .*file: File exists"),
        shared_folder(tmp_path / "file"),
    ):
        pass


def test_a_folder_without_room_is_named_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))  # what a full disk does to a file
    try:
        with pytest.raises(
            MetricsFolderError, match=f"there is no room for metrics in {tmp_path}: File too large"
        ):
            reserve(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_goes_with_the_next_start_where_its_gateway_was_killed() -> None:
    hold = (
        "from gateway.telemetry.worker_files import shared_folder\n"
        "with shared_folder(None) as folder:\n    print(folder, flush=True)\n    input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        folder = Path(gateway.stdout.readline().strip())
        with shared_folder(None):
            assert folder.is_dir(), "its gateway lives"
        gateway.kill()
    with (folder / "1.lock").open("a") as worker:
        fcntl.flock(worker, fcntl.LOCK_EX)
        with shared_folder(None):
            assert folder.is_dir(), "a worker of it lives"
    with shared_folder(None):
        assert not folder.exists()


def test_two_gateways_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        shared_folder(tmp_path),
        pytest.raises(MetricsFolderError, match="another gateway"),
        shared_folder(tmp_path),
    ):
        pass


def test_a_gateway_that_cannot_keep_its_metrics_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    secrets = {"GATEWAY_KEY_PEPPER": "p" * 32, "GATEWAY_TOKEN_SECRET": "t" * 32}
    result = subprocess.run(
        [sys.executable, "-P", "-m", "gateway", "serve"],
        env={**os.environ, **secrets, "GATEWAY_WORKERS": "2", "GATEWAY_METRICS_DIR": str(tmp_path / "file")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert "GATEWAY_METRICS_DIR: metrics cannot be kept in" in result.stderr
    assert "Traceback" not in result.stderr
