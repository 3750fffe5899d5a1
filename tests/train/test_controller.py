"""How a run goes: restarts, callbacks, backends, what stays on disk."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from heliostat.train import (
    Backend,
    BackendConfig,
    Checkpoint,
    CheckpointConfig,
    ControllerError,
    DataParallelTrainer,
    FailureConfig,
    Result,
    ScalingConfig,
    TrainingFailedError,
    UserCallback,
    WorkerGroupError,
    get_context,
    report,
)

pytestmark = pytest.mark.usefixtures("inline")

# One rank in the caller's process; one and two ranks as actors.
SIZES = [0, 1, 2]


@pytest.mark.parametrize("size", SIZES)
def test_a_failure_restarts_from_the_last_checkpoint(trainer, size, caplog):
    failing = trainer(size, {"fail_at": 2}, failure_config=FailureConfig(max_failures=1))
    with caplog.at_level(logging.WARNING, "heliostat.train"):
        result = failing.fit()
    assert result.return_value == 2
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    assert "starts again after a failure" in caplog.text
    assert "no 2" in caplog.text


@pytest.mark.parametrize("size", SIZES)
def test_a_failure_beyond_the_limit_raises_with_the_culprits_traceback(trainer, size):
    with pytest.raises(WorkerGroupError, match=r"rank 0 .*after 2 reports") as caught:
        trainer(size, {"fail_at": 2}).fit()
    assert isinstance(caught.value, TrainingFailedError)
    assert isinstance(caught.value.worker_failures[0], ValueError)
    assert isinstance(caught.value.__cause__, ValueError)
    assert "no 2" in str(caught.value)
    if size:
        assert 'raise ValueError(f"no {step}")' in str(caught.value)
        assert "session.py" not in str(caught.value)


def test_a_failed_run_can_be_read_from_its_path(trainer, tmp_path):
    with pytest.raises(WorkerGroupError):
        trainer(1, {"fail_at": 2}, name="run").fit()
    read = Result.from_path(tmp_path / "run")
    assert "no 2" in str(read.error)
    assert read.metrics["step"] == 1
    assert read.checkpoint is not None


def test_a_run_cut_short_goes_on_when_its_name_is_used_again(trainer, caplog):
    with pytest.raises(WorkerGroupError):
        trainer(1, {"fail_at": 2}, name="run").fit()
    with caplog.at_level(logging.WARNING, "heliostat.train"):
        result = trainer(1, name="run").fit()
    assert result.return_value == 2
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    assert "was cut short; it goes on from" in caplog.text


def test_a_complete_run_goes_on_too_when_its_name_is_used_again(trainer, caplog):
    first = trainer(1, name="run").fit()
    with caplog.at_level(logging.WARNING, "heliostat.train"):
        second = trainer(1, {"n": 5}, name="run").fit()
    assert second.return_value == 3
    assert second.checkpoint != first.checkpoint
    assert list(second.metrics_dataframe["step"]) == [0, 1, 2, 3, 4]
    assert Result.from_path(second.path).history == second.history
    assert "is there already; it goes on from checkpoint_000002" in caplog.text


def test_a_complete_run_whose_loop_has_nothing_left_to_do_keeps_its_result(trainer):
    first, second = (trainer(1, name="run").fit() for _ in range(2))
    assert second.metrics == first.metrics
    assert second.checkpoint == first.checkpoint
    assert Result.from_path(second.path).error is None


def test_a_complete_run_without_checkpoints_begins_anew_when_its_name_is_used_again(run_config):
    def loop():
        report({"x": 1})

    for _ in range(2):
        result = DataParallelTrainer(loop, run_config=run_config(name="run")).fit()
        assert len(result.metrics_dataframe) == 1


def test_only_the_best_and_the_latest_checkpoints_stay(trainer):
    keep = CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="loss")
    result = trainer(1, checkpoint_config=keep).fit()
    names = [name for name in sorted(os.listdir(result.path)) if name.startswith("checkpoint")]
    assert names == ["checkpoint_000000", "checkpoint_000002"]
    assert result.get_best_checkpoint("loss", "max").path.endswith("checkpoint_000000")


def test_ranks_that_report_unequally_are_named(run_config):
    def loop():
        for _ in range(get_context().get_world_rank() + 1):
            report({})

    trainer = DataParallelTrainer(
        loop, scaling_config=ScalingConfig(num_workers=2), run_config=run_config()
    )
    before = threading.active_count()
    with pytest.raises(WorkerGroupError, match=r"rank 0 ended .* rank 1 called report"):
        trainer.fit()
    assert threading.active_count() == before


class Recorder(UserCallback):
    def __init__(self):
        self.seen = []

    def after_report(self, run_context, metrics, checkpoint):
        self.seen.append((metrics, checkpoint and Path(checkpoint.path).is_dir()))

    def after_exception(self, run_context, worker_exceptions):
        self.seen.append({rank: str(error) for rank, error in worker_exceptions.items()})


def test_callbacks_hear_of_reports_and_failures(trainer):
    recorder = Recorder()
    trainer(1, {"fail_at": 1, "n": 2}, callbacks=[recorder], failure_config=FailureConfig(1)).fit()
    assert recorder.seen == [
        ([{"step": 0, "loss": 1.0}], True),
        {0: "no 1"},
        ([{"step": 1, "loss": 0.5}], True),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_what_a_callback_raises_ends_the_run_and_leaves_fit(trainer, size):
    class Enough(UserCallback):
        def after_report(self, run_context, metrics, checkpoint):
            raise StopIteration("enough")

    before = threading.active_count()
    with pytest.raises(StopIteration, match="enough"):
        trainer(size, callbacks=[Enough()]).fit()
    assert threading.active_count() == before


class Joining(BackendConfig):
    def __init__(self, log, fail=False):
        self.log, self.fail = log, fail

    @property
    def backend_cls(self):
        return Joined


class Joined(Backend):
    def on_start(self, worker_group, backend_config):
        if backend_config.fail:
            raise OSError("no network")
        ranks = worker_group.execute(lambda x: x, 7)
        backend_config.log.append(("start", ranks, worker_group.execute_single(1, abs, -1)))

    def on_training_start(self, worker_group, backend_config):
        backend_config.log.append("training")

    def on_shutdown(self, worker_group, backend_config):
        backend_config.log.append("shutdown")


def test_a_backend_is_called_around_the_training(run_config):
    log = []
    DataParallelTrainer(
        lambda: log.append("loop"),
        backend_config=Joining(log),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    assert log == [("start", [7, 7], 1), "training", "loop", "loop", "shutdown"]


def test_a_backend_that_fails_is_a_controller_error(run_config):
    trainer = DataParallelTrainer(
        print,
        backend_config=Joining([], fail=True),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(failure_config=FailureConfig(max_failures=-1)),
    )
    with pytest.raises(ControllerError, match="OSError: no network"):
        trainer.fit()


def test_storage_that_is_lost_on_the_way_is_a_controller_error(run_config, tmp_path):
    class Steal(UserCallback):
        """Takes the next checkpoint's place behind the run's back."""

        def after_report(self, run_context, metrics, checkpoint):
            Path(run_context.path, "checkpoint_000001").mkdir()

    def twice():
        for n in range(2):
            directory = tmp_path / f"saved-{n}"
            directory.mkdir()
            report({}, checkpoint=Checkpoint(directory))

    trainer = DataParallelTrainer(twice, run_config=run_config(callbacks=[Steal()]))
    with pytest.raises(ControllerError, match="checkpoint_000001"):
        trainer.fit()


def test_the_log_tells_the_story(trainer, tmp_path):
    trainer(1, {"fail_at": 1, "n": 2}, name="run", failure_config=FailureConfig(1)).fit()
    lines = (tmp_path / "run" / "run.jsonl").read_text().splitlines()
    story = [json.loads(line) for line in lines]
    assert sum(e["kind"] == "flushed" for e in story) == 2
    story = [e for e in story if e["kind"] != "flushed"]  # whenever the disk is done
    assert [e["kind"] for e in story] == ["begin", "report", "failure", "report", "end"]
    assert [e.get("attempt") for e in story] == [None, 1, 1, 2, None]


DRIVER = """
import os, pathlib, sys
import heliostat
from heliostat.train import *

storage, scratch = sys.argv[1:]

def loop():
    last = get_checkpoint()
    start = int(pathlib.Path(last.path, "step").read_text()) + 1 if last else 0
    for step in range(start, 200):
        directory = pathlib.Path(scratch, str(step))
        directory.mkdir(exist_ok=True)
        (directory / "step").write_text(str(step))
        (directory / "weights").write_bytes(bytes(100_000))
        report({"step": step}, checkpoint=Checkpoint(directory))
        if step == start:
            print("first", flush=True)

heliostat.init(num_cpus=1)
config = RunConfig(name="run", storage_path=storage, verbose=0,
                   checkpoint_config=CheckpointConfig(num_to_keep=3))
DataParallelTrainer(loop, run_config=config).fit()
"""


def test_a_driver_killed_at_any_moment_leaves_whole_checkpoints_and_a_run_that_goes_on(tmp_path):
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(tmp_path / "scratch")]
    before = -1
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as driver:
            lines = iter(driver.stdout.readline, b"")
            assert any(line.strip().endswith(b"first") for line in lines)
            driver.kill()
        result = Result.from_path(tmp_path / "run")
        assert result.metrics["step"] > before
        before = result.metrics["step"]
        assert Path(result.checkpoint.path, "step").read_text() == str(before)
        whole = [name for name in os.listdir(result.path) if name.startswith("checkpoint_")]
        for name in whole:
            assert Path(result.path, name, "weights").stat().st_size == 100_000
        # A commit and its line in the log, or a line and its deletion, may be cut apart.
        assert len(whole) <= 4
