"""tune.run and run_experiments: the older way in."""

import pytest

from heliostat import tune
from heliostat.tune import ResumeConfig, SyncConfig


def parabola(config):
    return {"loss": (config["x"] - 3) ** 2}


def fails_on_one(config):
    if config["x"] == 1:
        raise ValueError("one")
    return {"loss": config["x"]}


@pytest.fixture
def here(tmp_path):
    return {"storage_path": str(tmp_path), "verbose": 0}


def test_it_runs_a_study_and_returns_its_analysis(here):
    analysis = tune.run(
        parabola,
        config={"x": tune.grid_search([1, 3])},
        metric="loss",
        mode="min",
        search_alg="random",
        scheduler="fifo",
        resources_per_trial={"cpu": 1},
        sync_config=SyncConfig(),
        **here,
    )
    assert analysis.best_config == {"x": 3}
    assert len(analysis.trials) == 2


def test_a_failed_trial_raises_unless_told_otherwise(here):
    config = {"x": tune.grid_search([0, 1])}
    with pytest.raises(tune.TuneError, match=r"1 of 2 trials failed: fails_on_one_.*one"):
        tune.run(fails_on_one, config=config, **here)
    analysis = tune.run(fails_on_one, config=config, raise_on_failed_trial=False, **here)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR"]


def test_a_study_can_be_resumed_by_name(here):
    config = {"x": tune.grid_search([0, 1])}
    given = {"config": config, "name": "again", "raise_on_failed_trial": False, **here}
    with pytest.raises(ValueError, match="there is no study to go on with"):
        tune.run(fails_on_one, resume=True, **given)
    tune.run(fails_on_one, resume="AUTO", **given)
    analysis = tune.run(parabola, resume="RESTART_ERRORED", **given)
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "TERMINATED"]
    assert [trial.last_result["loss"] for trial in analysis.trials] == [0, 4]
    everything = ResumeConfig(finished=ResumeConfig.ResumeType.RESTART)
    analysis = tune.run(parabola, resume_config=everything, **given)
    assert [trial.last_result["loss"] for trial in analysis.trials] == [9, 4]
    with pytest.raises(ValueError, match="resume must be one of"):
        tune.run(parabola, resume="MAYBE", **given)
    with pytest.raises(TypeError, match="ResumeType"):
        ResumeConfig(errored="restart")


def test_older_arguments_are_refused_with_the_newer_ones():
    for name, says in [("local_dir", "storage_path"), ("checkpoint_freq", "checkpoint_frequency")]:
        with pytest.raises(ValueError, match=says):
            tune.run(parabola, **{name: 3})
    with pytest.raises(NotImplementedError, match="export_formats"):
        tune.run(parabola, export_formats=["onnx"])
    with pytest.raises(TypeError, match="sync_config"):
        tune.run(parabola, sync_config=3)
    with pytest.raises(ValueError, match="local_dir"):
        tune.Experiment("a", parabola, local_dir="/x")


def test_experiments_run_one_after_the_other(here, tmp_path):
    spec = {"run": parabola, "config": {"x": 1}, "storage_path": str(tmp_path)}
    trials = tune.run_experiments({"a": spec, "b": {**spec, "num_samples": 2}}, verbose=0)
    assert len(trials) == 3
    one = tune.Experiment("c", **{**spec, "checkpoint_config": {"num_to_keep": 1}})
    assert len(tune.run_experiments(one, verbose=0)) == 1
    assert len(tune.run_experiments([one], verbose=0)) == 1
    assert {path.name for path in tmp_path.iterdir()} >= {"a", "b", "c"}
    with pytest.raises(TypeError, match="experiments must be"):
        tune.run_experiments(3)
