"""Studies that Ray Tune has written, looked into; tests/ray/write.py wrote this one."""

import shutil
from pathlib import Path

import pytest

from heliostat.tune import ExperimentAnalysis, Tuner

STUDY = Path(__file__).parents[1] / "ray" / "written" / "study"


def test_a_study_that_ray_tune_has_written_is_looked_into():
    analysis = ExperimentAnalysis(STUDY, default_metric="score", default_mode="max")
    assert [trial.config["x"] for trial in analysis.trials] == [1, 2, 3]
    assert [trial.status for trial in analysis.trials] == ["TERMINATED", "ERROR", "TERMINATED"]
    assert analysis.best_config == {"x": 3, "more": {"lr": 0.1}}
    assert analysis.best_result["score"] == 6
    assert sorted(analysis.results_df["score"]) == [2, 2, 6]
    assert list(analysis.best_dataframe["score"]) == [0, 3, 6]
    assert "no two" in str(analysis.trials[1].error)


def test_checkpoints_of_a_study_of_ray_s_are_found():
    analysis = ExperimentAnalysis(STUDY)
    first = analysis.trials[0]
    best = analysis.get_best_checkpoint(first, "score", "min")
    assert Path(best.path, "step").read_text() == "0"
    assert Path(analysis.get_last_checkpoint(first).path, "step").read_text() == "2"
    assert analysis.get_best_checkpoint(analysis.trials[2], "score", "max") is None


def test_a_trial_of_ray_s_that_reported_nothing_is_known_by_its_directory(tmp_path):
    shutil.copytree(STUDY, tmp_path / "study")
    first = ExperimentAnalysis(tmp_path / "study").trials[0]
    for name in ("result.json", "progress.csv"):
        Path(first.path, name).unlink()
    again = ExperimentAnalysis(tmp_path / "study").trials
    assert again[0].trial_id == first.trial_id
    assert again[0].last_result == {}


def test_a_study_of_ray_s_cannot_be_taken_up_and_says_how_it_is_read():
    assert not Tuner.can_restore(STUDY)
    with pytest.raises(ValueError, match=r"Ray has written.*ExperimentAnalysis"):
        Tuner.restore(STUDY, lambda config: None)
