"""Disks that are full or read-only, names that lead astray, ranks that end in odd ways."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import pytest

import heliostat
from heliostat.train import (
    Checkpoint,
    DataParallelTrainer,
    FailureConfig,
    Result,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
    get_checkpoint,
    get_context,
    report,
)

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
ASTRAY = [
    "../x",
    "/tmp/x",
    "a/b",
    "..",
    ".",
    "",
    ".hidden",
    " x",
    "x\n",
    "x\0",
    "é" * 128,
    "x" * 300,
]


@pytest.fixture(scope="module", autouse=True)
def local():
    heliostat.init(num_cpus=2)
    yield
    heliostat.shutdown()


@contextlib.contextmanager
def mounted(path, options):
    """A file system of memory at `path`, or a skipped test where that is not allowed."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "none", path], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"cannot mount: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fit(loop, storage, workers=1, **options):
    return DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(storage_path=storage, verbose=0, **options),
    ).fit()


def filled(directory, size):
    directory.mkdir(exist_ok=True)
    (directory / "weights").write_bytes(b"w" * size)
    return Checkpoint(directory)


@pytest.mark.parametrize("mode", ["SYNC", "ASYNC"])
def test_a_full_disk_ends_the_run_and_leaves_the_checkpoints_before_it_whole(tmp_path, mode):
    def loop():
        for step in range(9):
            saved = filled(tmp_path / f"saved-{step}", 300_000)
            report({"step": step}, checkpoint=saved, checkpoint_upload_mode=mode)

    with mounted(tmp_path / "disk", "size=1m"):
        with pytest.raises(WorkerGroupError, match="No space left"):
            fit(loop, tmp_path / "disk", name="run")
        result = Result.from_path(tmp_path / "disk" / "run")
        sizes = [Path(c.path, "weights").stat().st_size for c, _ in result.best_checkpoints]
        assert sizes
        assert set(sizes) == {300_000}
        assert "No space left" in str(result.error)
        left = sorted(os.listdir(result.path))
        assert [name for name in left if name.startswith(".stage")] == []


def test_a_run_goes_on_when_there_is_room_again(tmp_path):
    def loop():
        last = get_checkpoint()
        first = 0 if last is None else len(last.path and os.listdir(last.path)) + 1
        for step in range(first, 3):
            if step == 2 and last is None:
                filled(tmp_path / "disk" / "hog", 600_000)
            report({"step": step}, checkpoint=filled(tmp_path / f"s-{step}", 200_000))
        return first

    with mounted(tmp_path / "disk", "size=1m"):
        with pytest.raises(WorkerGroupError, match="No space left"):
            fit(loop, tmp_path / "disk", name="run")
        (tmp_path / "disk" / "hog" / "weights").unlink()
        assert fit(loop, tmp_path / "disk", name="run").return_value == 2


def test_storage_that_is_read_only_is_named_before_anything_starts(tmp_path):
    says = r"storage_path=.*disk. cannot be written to \(Read-only"
    with mounted(tmp_path / "disk", "ro"), pytest.raises(OSError, match=says):
        fit(lambda: None, tmp_path / "disk")


@pytest.mark.parametrize("name", ASTRAY, ids=range(len(ASTRAY)))
def test_names_that_lead_astray_are_refused_for_runs_and_for_checkpoints(tmp_path, name):
    with pytest.raises(ValueError, match="name"):
        RunConfig(name=name, storage_path=tmp_path)

    def loop():
        with pytest.raises(ValueError, match="checkpoint_dir_name"):
            report({}, checkpoint=filled(tmp_path / "saved", 1), checkpoint_dir_name=name)

    fit(loop, tmp_path / "runs")


def test_names_of_other_scripts_and_of_255_bytes_are_names(tmp_path):
    names = ["Erdmännchen", "模型", "best of 3", "%2e%2e", "x" * 255]

    def loop():
        for name in names:
            report({}, checkpoint=filled(tmp_path / "saved", 1), checkpoint_dir_name=name)

    result = fit(loop, tmp_path / "runs", name="тест")
    assert [os.path.basename(c.path) for c, _ in result.best_checkpoints] == names
    assert Result.from_path(result.path).checkpoint == result.checkpoint


def test_a_rank_that_ends_early_is_named_and_the_others_are_stopped(tmp_path):
    def loop():
        for step in range(4):
            if step == 2 and get_context().get_world_rank() == 1:
                return
            report({"step": step})

    began = time.monotonic()
    with pytest.raises(WorkerGroupError) as caught:
        fit(loop, tmp_path, workers=2)
    assert "rank 1 ended the loop after 2 reports" in str(caught.value)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT])
def test_a_signal_that_ends_a_rank_is_named_and_the_run_starts_again(tmp_path, sent):
    def loop():
        rank, first = get_context().get_world_rank(), not (tmp_path / "hit").exists()
        report({"first": first})
        if rank == 1 and first:
            (tmp_path / "hit").touch()
            os.kill(os.getpid(), sent)
            threading.Event().wait()
        if first:
            threading.Event().wait()

    with pytest.raises(WorkerGroupError, match=rf"(?s)rank 1 of 2 died .*{sent.name}"):
        fit(loop, tmp_path, workers=2)
    (tmp_path / "hit").unlink()
    once = FailureConfig(max_failures=1)
    assert fit(loop, tmp_path, workers=2, failure_config=once).metrics == {"first": False}


def test_a_checkpoint_that_was_deleted_meanwhile_is_not_gone_on_from(tmp_path):
    def loop():
        last = get_checkpoint()
        for step in range(3):
            if last is None and step == 2:
                raise KeyError("stop")
            report({"step": step}, checkpoint=filled(tmp_path / f"s-{step}", step + 1))
        return None if last is None else os.path.getsize(Path(last.path, "weights"))

    with pytest.raises(WorkerGroupError, match="stop"):
        fit(loop, tmp_path / "runs", name="run")
    for file in (tmp_path / "runs" / "run" / "checkpoint_000001").iterdir():
        file.unlink()
    (tmp_path / "runs" / "run" / "checkpoint_000001").rmdir()
    assert fit(loop, tmp_path / "runs", name="run").return_value == 1
