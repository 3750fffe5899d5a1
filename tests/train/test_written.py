"""Directories without a log of ours: what Ray Train and Ray Tune have written, and trials of ours.

tests/ray/write.py wrote those of Ray's.
"""

import json
from pathlib import Path

import pyarrow.fs
import pytest

from heliostat import tune
from heliostat.train import Checkpoint, Result

RAYS = Path(__file__).parents[1] / "ray" / "written"


def test_a_run_that_ray_train_has_written_is_read():
    result = Result.from_path(RAYS / "run")
    assert result.metrics["step"] == 2
    assert Path(result.checkpoint.path, "step").read_text() == "2"
    assert result.checkpoint.get_metadata() == {"step": 2}
    assert [metrics["step"] for _, metrics in result.best_checkpoints] == [1, 2]
    best = result.get_best_checkpoint("loss", "min")
    assert Path(best.path, "step").read_text() == "1"
    assert list(result.metrics_dataframe["step"]) == [1, 2]
    assert result.error is None
    assert result.path == str(RAYS / "run")


def test_a_run_of_ray_train_s_is_read_through_a_file_system():
    there = pyarrow.fs.SubTreeFileSystem(str(RAYS), pyarrow.fs.LocalFileSystem())
    result = Result.from_path("run", storage_filesystem=there)
    assert result.metrics["step"] == 2
    with result.checkpoint.as_directory() as folder:
        assert Path(folder, "step").read_text() == "2"


def test_a_checkpoint_that_ray_has_written_is_a_directory_like_others(tmp_path):
    (first, *_) = sorted((RAYS / "run").glob("checkpoint_*"))
    checkpoint = Checkpoint.from_directory(first)
    assert checkpoint.get_metadata() == {"step": 1}
    assert Path(checkpoint.to_directory(tmp_path / "copy"), "step").read_text() == "1"


def trial(x):
    for params in (RAYS / "study").glob("*/params.json"):
        if json.loads(params.read_text())["x"] == x:
            return params.parent
    raise AssertionError(x)


def test_a_trial_that_ray_tune_has_written_is_read():
    result = Result.from_path(trial(1))
    assert (result.metrics["score"], result.metrics["training_iteration"]) == (2, 3)
    assert result.config == {"x": 1, "more": {"lr": 0.1}}
    assert [metrics["score"] for _, metrics in result.best_checkpoints] == [0, 1, 2]
    assert Path(result.checkpoint.path, "step").read_text() == "2"
    assert list(result.metrics_dataframe["score"]) == [0, 1, 2]
    assert result.error is None


def test_a_trial_of_ray_s_that_failed_has_its_error_s_text():
    result = Result.from_path(trial(2))
    assert result.metrics["score"] == 2
    assert "no two" in str(result.error)
    assert Result.from_path(trial(3)).checkpoint is None


def test_a_trial_with_a_table_alone_is_read(tmp_path):
    table = (trial(1) / "progress.csv").read_text()
    (tmp_path / "progress.csv").write_text(table)
    result = Result.from_path(tmp_path)
    assert (result.metrics["score"], result.metrics["inner/a"]) == (2, 2)
    assert (result.config, result.best_checkpoints, result.metrics["done"]) == (None, [], False)


def test_what_a_kill_cut_off_a_trial_s_reports_is_left_out(tmp_path):
    lines = (trial(1) / "result.json").read_text()
    (tmp_path / "result.json").write_text(lines[:-10])
    assert Result.from_path(tmp_path).metrics["score"] == 1


def test_a_report_that_a_kill_cut_off_is_left_out_of_those_of_the_next_attempt(tmp_path):
    lines = (trial(1) / "result.json").read_text()
    first = lines[: lines.index("\n") - 10]
    (tmp_path / "result.json").write_text(f"{first}\n{lines}")
    assert list(Result.from_path(tmp_path).metrics_dataframe["score"]) == [0, 1, 2]


@pytest.mark.usefixtures("inline")
def test_a_trial_of_ours_is_read_the_same_way(tmp_path):
    def objective(config):
        tune.report({"score": config["x"]}, checkpoint=Checkpoint.from_directory(tmp_path / "in"))

    (tmp_path / "in").mkdir()
    run = tune.RunConfig(storage_path=str(tmp_path), name="study", verbose=0)
    (result,) = tune.Tuner(objective, param_space={"x": 4}, run_config=run).fit()
    read = Result.from_path(result.path)
    assert (read.metrics["score"], read.config) == (4, {"x": 4})
    assert read.checkpoint == result.checkpoint


def test_a_directory_that_says_nothing_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run has written to"):
        Result.from_path(tmp_path)


def test_a_last_line_that_was_cut_off_is_no_report(tmp_path):
    progress = tmp_path / "progress.csv"
    progress.write_text("loss,step,trial_id\n0.5,1,abc\n0.4,2")
    assert Result.from_path(tmp_path).metrics == {"loss": 0.5, "step": 1, "trial_id": "abc"}
    progress.unlink()
    whole = json.dumps({"note": "a\u2028b"}, ensure_ascii=False)
    (tmp_path / "result.json").write_text(whole + '\n{"note": "c')
    assert Result.from_path(tmp_path).metrics == {"note": "a\u2028b"}
