"""What a loop may say and ask."""

import logging
import threading

import pytest

from heliostat.train import (
    Checkpoint,
    DataParallelTrainer,
    ScalingConfig,
    WorkerGroupError,
    get_all_reported_checkpoints,
    get_checkpoint,
    get_context,
    get_dataset_shard,
    report,
)

pytestmark = pytest.mark.usefixtures("inline")

# One rank in the caller's process; one and two ranks as actors.
SIZES = [0, 1, 2]


def test_a_loop_that_ignores_its_checkpoint_is_told_so(run_config, tmp_path, caplog):
    trainer = DataParallelTrainer(
        lambda: report({}),
        run_config=run_config(),
        resume_from_checkpoint=Checkpoint(tmp_path),
    )
    with caplog.at_level(logging.WARNING, "heliostat.train"):
        trainer.fit()
    assert "never called get_checkpoint()" in caplog.text


def test_every_rank_knows_its_place(run_config):
    seen = []

    def loop():
        c = get_context()
        seen.append((c.get_world_rank(), c.get_world_size(), c.get_local_rank(),
                     c.get_local_world_size(), c.get_node_rank(), c.get_experiment_name(),
                     c.get_metadata()))  # fmt: skip

    DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(name="here"),
        metadata={"a": 1},
    ).fit()
    assert sorted(seen) == [(r, 2, r, 2, 0, "here", {"a": 1}) for r in (0, 1)]


def test_what_a_trial_was_is_a_run(run_config):
    def loop():
        c = get_context()
        told = c.get_trial_name(), c.get_trial_id(), c.get_trial_dir(), c.get_trial_resources()
        report({"told": list(told)})

    trainer = DataParallelTrainer(
        loop, scaling_config=ScalingConfig(num_workers=2), run_config=run_config(name="here")
    )
    result = trainer.fit()
    assert result.metrics["told"] == ["here", "here", result.path, {"CPU": 2}]


def test_the_latest_checkpoint_is_that_of_the_last_report(run_config, tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved")

    def loop():
        report({}, checkpoint=Checkpoint(directory))
        return get_checkpoint().path

    result = DataParallelTrainer(loop, run_config=run_config()).fit()
    assert result.return_value == result.checkpoint.path


def test_a_thread_of_the_loop_finds_the_session(run_config):
    def loop():
        thread = threading.Thread(target=report, args=({"from": "thread"},))
        thread.start()
        thread.join()

    assert DataParallelTrainer(loop, run_config=run_config()).fit().metrics == {"from": "thread"}


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: report([1]), TypeError, "dict of metrics"),
        (lambda: report({1: 2}), TypeError, "got 1"),
        (lambda: report({}, "path"), TypeError, "Checkpoint"),
        (lambda: report({}, Checkpoint("/no/such")), FileNotFoundError, "/no/such"),
        (lambda: report({}, Checkpoint("/"), "../x"), ValueError, r"\.\./x"),
        (lambda: report({}, Checkpoint("/"), "run.jsonl"), ValueError, "run.jsonl"),
        (lambda: report({}, validation=True), ValueError, "validation"),
        (lambda: report({}, checkpoint_upload_mode="LATER"), ValueError, "LATER"),
        (lambda: get_all_reported_checkpoints("ALL"), ValueError, "ALL"),
        (lambda: get_dataset_shard("test"), KeyError, "'test'.*none"),
    ],
)
def test_misuse_inside_the_loop_is_an_error_of_its_line(call, error, says, run_config):
    trainer = DataParallelTrainer(call, run_config=run_config())
    with pytest.raises(WorkerGroupError, match=says) as caught:
        trainer.fit()
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize(
    "call",
    [
        get_context,
        get_checkpoint,
        get_dataset_shard,
        get_all_reported_checkpoints,
        lambda: report({}),
    ],
)
def test_outside_a_loop_there_is_no_session(call):
    with pytest.raises(RuntimeError, match="outside a training loop"):
        call()


@pytest.mark.parametrize("size", SIZES)
def test_sys_exit_in_the_loop_is_a_failure(run_config, size):
    import sys

    trainer = DataParallelTrainer(
        lambda: sys.exit(3),
        scaling_config=ScalingConfig(num_workers=size),
        run_config=run_config(),
    )
    with pytest.raises(WorkerGroupError, match=r"sys.exit\(3\)"):
        trainer.fit()
