"""ExperimentAnalysis: a study by the names of the older interface."""

import pytest

from heliostat import tune
from heliostat.tune import ExperimentAnalysis


class Step(tune.Trainable):
    def setup(self, config):
        self.n = 0

    def step(self):
        self.n += 1
        return {"score": self.config["x"] * self.n, "done": self.n == 3}

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]


@pytest.fixture
def path(run_study):
    keep = tune.CheckpointConfig(checkpoint_frequency=1)
    grid = run_study(Step, {"x": tune.grid_search([1, -2])}, run={"checkpoint_config": keep})
    return grid.experiment_path


def test_a_study_on_disk_can_be_looked_into_without_its_trainable(path):
    analysis = ExperimentAnalysis(path, default_metric="score", default_mode="max")
    assert analysis.best_config == {"x": 1}
    assert analysis.best_result["score"] == 3
    assert analysis.best_logdir == analysis.best_trial.path
    assert analysis.get_best_config("score", "min") == {"x": -2}
    assert len(analysis.results) == len(analysis.get_all_configs()) == 2
    assert next(iter(analysis.get_all_configs(prefix=True).values())) == {"config/x": 1}
    assert set(analysis.results_df["score"]) == {3, -6}
    assert list(analysis.best_dataframe["score"]) == [1, 2, 3]
    assert list(analysis.best_result_df["score"]) == [3]
    assert set(analysis.dataframe("score", "max")["score"]) == {3, -2}


def test_checkpoints_by_metric_and_by_age(path):
    analysis = ExperimentAnalysis(path, default_metric="score", default_mode="max")
    worse = analysis.get_best_trial("score", "min")
    assert analysis.best_checkpoint.path.endswith("checkpoint_000002")
    assert analysis.get_best_checkpoint(worse).path.endswith("checkpoint_000000")
    assert analysis.get_last_checkpoint(worse).path.endswith("checkpoint_000002")
    assert analysis.get_last_checkpoint() is not None


def test_what_is_missing_is_said(path, tmp_path):
    analysis = ExperimentAnalysis(path)
    with pytest.raises(ValueError, match="no metric"):
        analysis.get_best_checkpoint(analysis.trials[0])
    assert analysis.get_best_trial("typo", "max") is None
    assert analysis.get_best_config("typo", "max") is None
    with pytest.raises(ValueError, match="no trial has"):
        _ = ExperimentAnalysis(path, default_metric="typo", default_mode="max").best_trial
    with pytest.raises(ValueError, match="there is no study"):
        ExperimentAnalysis(tmp_path / "none")
