"""ResultGrid: which result is best, in every scope, with NaN and without the metric."""

import math

import pytest

from heliostat import tune
from heliostat.tune._snapshot import TrialFiles
from heliostat.tune._trial import Trial
from heliostat.tune.result_grid import ResultGrid

ENGINE = None
LOSSES = {"falls": [9.0, 1.0], "flat": [2.0, 2.0], "rises": [0.0, 8.0]}


@pytest.fixture
def grid(tmp_path):
    def make(losses, metric="loss", mode="min"):
        trials = []
        for name, values in losses.items():
            path = tmp_path / name
            trial = Trial(name, "f", {"name": name}, name, str(path), {}, state="TERMINATED")
            files = TrialFiles(str(path))
            files.begin(trial.config)
            for value in values:
                trial.last_result = {"loss": value, "eval": {"acc": -value}}
                files.append(trial.last_result)
            files.write()
            trials.append(trial)
        return ResultGrid(trials, str(tmp_path), metric, mode)

    return make


@pytest.mark.parametrize(
    ("scope", "mode", "best"),
    [
        ("last", "min", "falls"),
        ("last", "max", "rises"),
        ("all", "min", "rises"),
        ("all", "max", "falls"),
        ("avg", "min", "flat"),
        ("avg", "max", "falls"),
        ("last-5-avg", "min", "flat"),
        ("last-10-avg", "max", "falls"),
    ],
)
def test_each_scope_looks_at_its_reports(grid, scope, mode, best):
    assert grid(LOSSES).get_best_result("loss", mode, scope).config == {"name": best}


def test_nested_metrics_are_named_with_a_slash(grid):
    assert grid(LOSSES).get_best_result("eval/acc", "max").config == {"name": "falls"}


def test_nan_and_infinity_are_never_best_unless_asked(grid):
    found = grid({"nan": [math.nan], "low": [-math.inf], "one": [1.0]})
    assert found.get_best_result().config == {"name": "one"}
    assert found.get_best_result(filter_nan_and_inf=False).config == {"name": "low"}
    only = grid({"nan": [math.nan], "inf": [math.inf]})
    with pytest.raises(RuntimeError, match="NaN and infinity do not count"):
        only.get_best_result()
    assert only.get_best_result(filter_nan_and_inf=False).config == {"name": "inf"}


def test_of_equals_the_first_is_best(grid):
    assert grid({"a": [1.0], "b": [1.0]}).get_best_result().config == {"name": "a"}


def test_an_unknown_metric_names_those_there_are(grid):
    with pytest.raises(RuntimeError, match=r"'rmse'; the trials reported: 'eval/acc', 'loss'"):
        grid(LOSSES).get_best_result("rmse")


def test_without_metric_or_mode_it_says_what_to_give(grid):
    with pytest.raises(ValueError, match="no metric"):
        grid(LOSSES, metric=None).get_best_result()
    with pytest.raises(ValueError, match="no mode"):
        grid(LOSSES, mode=None).get_best_result("loss")
    with pytest.raises(ValueError, match="'best'"):
        grid(LOSSES).get_best_result("loss", "best")
    with pytest.raises(ValueError, match="scope must be one of"):
        grid(LOSSES).get_best_result(scope="first")


def test_a_single_trial_is_best_without_a_metric(grid):
    assert grid({"a": [1.0]}, metric=None, mode=None).get_best_result().config == {"name": "a"}


def test_a_frame_has_a_row_for_each_trial(grid):
    frame = grid(LOSSES).get_dataframe()
    assert list(frame["loss"]) == [1.0, 2.0, 8.0]
    assert list(frame["config/name"]) == list(LOSSES)
    assert list(frame["eval/acc"]) == [-1.0, -2.0, -8.0]


def test_a_frame_may_show_the_best_reports(grid):
    frame = grid(LOSSES).get_dataframe("loss", "min")
    assert list(frame["loss"]) == [1.0, 2.0, 0.0]
    with pytest.raises(ValueError, match="go together"):
        grid(LOSSES).get_dataframe("loss")


def test_it_counts_and_lists_like_a_sequence(grid):
    found = grid(LOSSES)
    assert (len(found), found.num_terminated, found.num_errors, found.errors) == (3, 3, 0, [])
    assert [r.config["name"] for r in found] == [found[n].config["name"] for n in range(3)]
    assert list(found[0].metrics_dataframe["loss"]) == [9.0, 1.0]
    assert "falls" in repr(found)
    assert found.filesystem.type_name == "local"


def test_a_trial_without_reports_has_no_metrics(tmp_path):
    failed = Trial("t", "f", {"x": 1}, "0", str(tmp_path), {}, state="ERROR", error=OSError("no"))
    found = ResultGrid([failed], str(tmp_path), "loss", "min")
    assert (found[0].metrics, found[0].config, found.num_errors) == (None, {"x": 1}, 1)
    with pytest.raises(RuntimeError, match="1 of 1 trials failed"):
        found.get_best_result()


def test_it_is_what_fit_returns():
    assert tune.ResultGrid is ResultGrid


def test_a_notebook_shows_the_trials_best_first(grid):
    page = grid(LOSSES)._repr_html_()
    assert page.index("<td>falls</td>") < page.index("<td>flat</td>") < page.index("<td>rises</td>")
    assert "3 trials: 3 terminated, 0 failed" in page
    assert "<th>name</th>" in page
