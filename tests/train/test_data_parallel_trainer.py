"""What a user sees of a training, on the inline engine."""

import functools
import json
import logging
import os
import pickle
import threading
from pathlib import Path

import pytest

import heliostat
from heliostat.exceptions import ActorUnschedulableError
from heliostat.train import (
    Backend,
    BackendConfig,
    Checkpoint,
    CheckpointConfig,
    ControllerError,
    DataConfig,
    DataParallelTrainer,
    FailureConfig,
    Result,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
    UserCallback,
    WorkerGroupError,
    get_checkpoint,
    get_context,
    get_dataset_shard,
    report,
)

pytestmark = pytest.mark.usefixtures("inline")
# One rank in the caller's process; one and two ranks as actors.
SIZES = [0, 1, 2]


def save(directory, **files):
    for name, value in files.items():
        Path(directory, name).write_text(str(value))
    return Checkpoint.from_directory(directory)


def counting(scratch, config):
    """Counts to `n`, saving each step; fails once at `fail_at` if it began from scratch."""
    rank, last = get_context().get_world_rank(), get_checkpoint()
    start = 0 if last is None else int(Path(last.path, "step").read_text()) + 1
    for step in range(start, config["n"]):
        if step == config.get("fail_at") and last is None:
            raise ValueError(f"no {step}")
        directory = Path(scratch, f"{step}-{rank}-{start}")
        directory.mkdir(parents=True)
        files = {"step": step} if rank == 0 else {f"rank-{rank}": step}
        report({"step": step, "loss": 1 / (step + 1)}, checkpoint=save(directory, **files))
    return start


@pytest.fixture
def trainer(tmp_path, run_config):
    def make(size=1, loop_config=None, **options):
        scratch = tmp_path.parent / f"{tmp_path.name}-scratch" / str(len(os.listdir(tmp_path)))
        return DataParallelTrainer(
            functools.partial(counting, str(scratch)),
            train_loop_config={"n": 3, **(loop_config or {})},
            scaling_config=ScalingConfig(num_workers=size),
            run_config=run_config(**options),
        )

    return make


@pytest.mark.parametrize("size", SIZES)
def test_a_result_holds_metrics_checkpoint_and_history(trainer, size):
    result = trainer(size).fit()
    assert result.metrics == {"step": 2, "loss": 1 / 3}
    assert Path(result.checkpoint.path, "step").read_text() == "2"
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    assert [m["step"] for _, m in result.best_checkpoints] == [0, 1, 2]
    assert result.get_best_checkpoint("loss", "max") == result.best_checkpoints[0][0]
    assert result.error is None
    assert result.return_value == 0
    assert result.config == {"n": 3}
    assert Path(result.path).parent.name in result.path


@pytest.mark.parametrize("size", SIZES)
def test_a_result_read_from_its_path_is_the_same(trainer, size):
    result = trainer(size, checkpoint_config=CheckpointConfig(num_to_keep=1)).fit()
    read = Result.from_path(result.path)
    assert read.metrics == result.metrics
    assert read.checkpoint == result.checkpoint
    assert read.best_checkpoints == result.best_checkpoints
    assert read.config == result.config
    assert read.metrics_dataframe.equals(result.metrics_dataframe)


def test_all_ranks_files_are_in_the_checkpoint(trainer):
    assert sorted(os.listdir(trainer(2).fit().checkpoint.path)) == ["rank-1", "step"]


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


def test_a_complete_run_begins_anew_when_its_name_is_used_again(trainer):
    first, second = trainer(1, name="run").fit(), trainer(1, name="run").fit()
    assert second.return_value == 0
    assert second.checkpoint != first.checkpoint
    assert len(second.metrics_dataframe) == len(Result.from_path(second.path).history) == 3


def test_a_loop_that_ignores_its_checkpoint_is_told_so(run_config, tmp_path, caplog):
    trainer = DataParallelTrainer(
        lambda: report({}),
        run_config=run_config(),
        resume_from_checkpoint=save(tmp_path, x=1),
    )
    with caplog.at_level(logging.WARNING, "heliostat.train"):
        trainer.fit()
    assert "never called get_checkpoint()" in caplog.text


def test_only_the_best_and_the_latest_checkpoints_stay(trainer):
    keep = CheckpointConfig(num_to_keep=1, checkpoint_score_attribute="loss")
    result = trainer(1, checkpoint_config=keep).fit()
    names = [name for name in sorted(os.listdir(result.path)) if name.startswith("checkpoint")]
    assert names == ["checkpoint_000000", "checkpoint_000002"]
    assert result.get_best_checkpoint("loss", "max").path.endswith("checkpoint_000000")


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


def test_a_thread_of_the_loop_finds_the_session(run_config):
    def loop():
        thread = threading.Thread(target=report, args=({"from": "thread"},))
        thread.start()
        thread.join()

    assert DataParallelTrainer(loop, run_config=run_config()).fit().metrics == {"from": "thread"}


def test_a_trainer_runs_inside_a_task_an_actor_and_another_trainer(run_config):
    def inner():
        result = DataParallelTrainer(lambda: report({"x": 1}), run_config=run_config()).fit()
        return result.metrics["x"]

    class Trial:
        def run(self):
            return inner()

    def outer():
        x = inner()
        report({"x": x + 1})
        assert get_context().get_world_size() == 1

    assert heliostat.get(heliostat.remote(inner).remote()) == 1
    assert heliostat.get(heliostat.remote(Trial).remote().run.remote()) == 1
    assert DataParallelTrainer(outer, run_config=run_config()).fit().metrics == {"x": 2}


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: report([1]), TypeError, "dict of metrics"),
        (lambda: report({1: 2}), TypeError, "got 1"),
        (lambda: report({}, "path"), TypeError, "Checkpoint"),
        (lambda: report({}, Checkpoint("/no/such")), FileNotFoundError, "/no/such"),
        (lambda: report({}, Checkpoint("/"), "../x"), ValueError, r"\.\./x"),
        (lambda: report({}, Checkpoint("/"), "run.jsonl"), ValueError, "run.jsonl"),
        (lambda: report({}, validation=True), NotImplementedError, "validation"),
        (lambda: report({}, checkpoint_upload_mode="ASYNC"), NotImplementedError, "ASYNC"),
        (lambda: get_dataset_shard("test"), KeyError, "'test'.*none"),
    ],
)
def test_misuse_inside_the_loop_is_an_error_of_its_line(call, error, says, run_config):
    trainer = DataParallelTrainer(call, run_config=run_config())
    with pytest.raises(WorkerGroupError, match=says) as caught:
        trainer.fit()
    assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize(
    "call", [get_context, get_checkpoint, get_dataset_shard, lambda: report({})]
)
def test_outside_a_loop_there_is_no_session(call):
    with pytest.raises(RuntimeError, match="outside a training loop"):
        call()


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


class Recorder(UserCallback):
    def __init__(self):
        self.seen = []

    def after_report(self, run_context, metrics, checkpoint):
        self.seen.append((metrics, checkpoint and Path(checkpoint.path).is_dir()))

    def after_exception(self, run_context, worker_exceptions):
        self.seen.append({rank: str(error.cause) for rank, error in worker_exceptions.items()})


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


@pytest.mark.parametrize(
    ("scaling", "says"),
    [
        (ScalingConfig(num_workers=2, use_gpu=True), "asks for 2 GPU .*there is 0; set use_gpu"),
        (ScalingConfig(num_workers=9), "asks for 9 CPU .*9 workers of 1.* there are 4; use fewer"),
        (ScalingConfig(resources_per_worker={"tape": 1}), "1 tape .*resources={'tape'"),
    ],
)
def test_what_can_never_be_met_is_refused_at_once(scaling, says, run_config, tmp_path):
    trainer = DataParallelTrainer(print, scaling_config=scaling, run_config=run_config())
    with pytest.raises(ActorUnschedulableError, match=says):
        trainer.fit()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: DataParallelTrainer(3), TypeError, "function, got 3"),
        (lambda: DataParallelTrainer(lambda a, b: 1), ValueError, "needs a, b"),
        (lambda: DataParallelTrainer(print, scaling_config={"n": 1}), TypeError, "ScalingConfig"),
        (lambda: DataParallelTrainer(print, datasets=[1]), TypeError, "datasets"),
        (lambda: DataParallelTrainer(print, datasets={"train": [1]}), TypeError, "from_items"),
        (
            lambda: DataParallelTrainer(print, dataset_config=DataConfig(["x"])),
            ValueError,
            r"\['x'\].*none",
        ),
        (lambda: DataParallelTrainer(print, validation_config=1), NotImplementedError, "valid"),
        (lambda: DataParallelTrainer.restore("/x"), NotImplementedError, "RunConfig"),
        (
            lambda: DataParallelTrainer(print, run_config=RunConfig(stop={})).fit(),
            ValueError,
            "stop",
        ),
        (
            lambda: DataParallelTrainer(print, run_config=RunConfig(callbacks=[3])).fit(),
            TypeError,
            "UserCallback",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused(make, error, says):
    with pytest.raises(error, match=says):
        make()


def test_a_path_that_cannot_be_written_to_is_named_before_anything_starts(tmp_path):
    (tmp_path / "file").write_text("")
    trainer = DataParallelTrainer(print, run_config=RunConfig(storage_path=tmp_path / "file"))
    with pytest.raises(OSError, match=r"storage_path=.*file"):
        trainer.fit()


class Mine(DataParallelTrainer):
    def __init__(self, flavour, *, level=1, **kwargs):
        super().__init__(print, **kwargs)
        self.flavour, self.level = flavour, level


def test_replace_merges_dicts_and_replaces_the_rest():
    a = Mine("sweet", level=2, train_loop_config={"lr": 1, "net": {"depth": 2, "width": 3}})
    b = a.replace(train_loop_config={"net": {"depth": 9}}, run_config=RunConfig(name="b"))
    assert type(b) is Mine
    assert (b.flavour, b.level, b.run_config.name) == ("sweet", 2, "b")
    assert b.train_loop_config == {"lr": 1, "net": {"depth": 9, "width": 3}}
    assert a.train_loop_config["net"]["depth"] == 2
    assert b.replace(level=5).train_loop_config["net"]["depth"] == 9


def test_replace_refuses_a_name_it_does_not_know_and_lists_the_others():
    trainer = DataParallelTrainer(print)
    with pytest.raises(TypeError, match="'lr'; it has: train_loop_per_worker, train_loop_config"):
        trainer.replace(lr=1)


def test_a_trainer_travels():
    trainer = Mine("sweet", train_loop_config={"lr": 1})
    copy = pickle.loads(pickle.dumps(trainer))
    assert copy.replace(train_loop_config={"b": 2}).train_loop_config == {"lr": 1, "b": 2}


def test_the_log_tells_the_story(trainer, tmp_path):
    trainer(1, {"fail_at": 1, "n": 2}, name="run", failure_config=FailureConfig(1)).fit()
    lines = (tmp_path / "run" / "run.jsonl").read_text().splitlines()
    story = [json.loads(line) for line in lines]
    assert [e["kind"] for e in story] == ["begin", "report", "failure", "report", "end"]
    assert [e.get("attempt") for e in story] == [None, 1, 1, 2, None]
