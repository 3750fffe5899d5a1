"""What a trainer accepts, refuses, and hands on."""

import os
import pickle

import pytest

import heliostat
from heliostat.exceptions import ActorUnschedulableError
from heliostat.train import (
    DataConfig,
    DataParallelTrainer,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
    get_context,
    report,
)

pytestmark = pytest.mark.usefixtures("inline")


def test_all_ranks_files_are_in_the_checkpoint(trainer):
    assert sorted(os.listdir(trainer(2).fit().checkpoint.path)) == ["rank-1", "step"]


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
    ("scaling", "says"),
    [
        (
            ScalingConfig(num_workers=2, use_gpu=True),
            "asks for 2 GPU, but there is none here; set use_gpu",
        ),
        (
            ScalingConfig(num_workers=9),
            "asks for 9 CPU .*9 workers of 1.* there are 4 here; use fewer",
        ),
        (ScalingConfig(resources_per_worker={"tape": 1}), "1 tape, .*resources={'tape'"),
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
        (lambda: DataParallelTrainer(print, validation_config=1), TypeError, "valid"),
        (lambda: DataParallelTrainer.restore("/x", print), FileNotFoundError, "no run has written"),
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


@pytest.mark.parametrize(
    ("scaling", "run"),
    [
        ({"accelerator_type": "A100"}, {}),
        ({"label_selector": {"zone": "eu"}}, {}),
        ({}, {"worker_runtime_env": {"env_vars": {"COLOR": "green"}}}),
    ],
)
def test_a_loop_in_this_process_refuses_a_place_and_an_environment(scaling, run, run_config):
    trainer = DataParallelTrainer(
        print,
        scaling_config=ScalingConfig(num_workers=0, **scaling),
        run_config=run_config(**run),
    )
    [name] = {**scaling, **run}
    with pytest.raises(ValueError, match=f"num_workers=0 .*{name}=.*num_workers=1"):
        trainer.fit()


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


def test_a_run_that_was_cut_short_is_restored_from_its_directory(trainer, run_config, tmp_path):
    failing = trainer(1, {"fail_at": 2}, name="run")
    with pytest.raises(WorkerGroupError, match="no 2"):
        failing.fit()
    path = tmp_path / "run"
    assert DataParallelTrainer.can_restore(path)
    again = DataParallelTrainer.restore(
        path, failing.train_loop_per_worker, train_loop_config={"n": 3}, run_config=run_config()
    )
    result = again.fit()
    assert result.return_value == 2
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    assert DataParallelTrainer.can_restore(path)
    assert not DataParallelTrainer.can_restore(tmp_path)
    with pytest.raises(TypeError, match=r"has no loop: missing .*train_loop_per_worker"):
        DataParallelTrainer.restore(path)
