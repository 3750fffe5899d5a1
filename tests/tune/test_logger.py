"""Loggers: files for other tools, and callbacks that remember."""

import csv
import pickle
import sys
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
    TBXLoggerCallback,
)


def trial(config):
    for n in range(3):
        tune.report({"loss": config["x"] / (n + 1), "in": {"n": n}, "text": "a"})


def test_csv_has_a_row_a_report_with_nested_names(run_study):
    [result] = run_study(trial, {"x": 6.0}, run={"callbacks": [CSVLoggerCallback()]})
    with Path(result.path, "progress.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [6.0, 3.0, 2.0]
    assert [row["in/n"] for row in rows] == ["0", "1", "2"]
    assert [row["training_iteration"] for row in rows] == ["1", "2", "3"]


def test_csv_goes_on_in_the_same_columns(tmp_path):
    from heliostat.tune._trial import Trial

    one = Trial("t", "f", {}, "0", str(tmp_path), {})
    for result in ({"a": 1, "b": 2}, {"b": 3, "c": 4}):
        logger = CSVLoggerCallback()
        logger.log_trial_result(1, one, result)
        logger.log_trial_end(one)
    assert (tmp_path / "progress.csv").read_text().split() == ["a,b", "1,2", ",3"]


def test_json_adds_the_pickled_configuration(run_study):
    [result] = run_study(trial, {"x": 6.0}, run={"callbacks": [JsonLoggerCallback()]})
    assert pickle.loads(Path(result.path, "params.pkl").read_bytes()) == {"x": 6.0}
    assert {"params.json", "result.json"} <= {path.name for path in Path(result.path).iterdir()}


def test_tensorboard_gets_events(run_study):
    pytest.importorskip("tensorboardX")
    [result] = run_study(trial, {"x": 6.0}, run={"callbacks": [TBXLoggerCallback()]})
    [events] = Path(result.path).glob("events.out.tfevents*")
    data = events.read_bytes()
    assert b"ray/tune/loss" in data
    assert b"ray/tune/in/n" in data


def test_without_tensorboardx_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        TBXLoggerCallback()


def test_a_logger_of_ones_own_hears_everything(run_study):
    heard = []

    class Mine(LoggerCallback):
        def log_trial_start(self, trial):
            heard.append("start")

        def log_trial_result(self, iteration, trial, result):
            heard.append("result")

        def log_trial_end(self, trial, failed=False):
            heard.append(f"end {failed}")

    def fails(config):
        raise ValueError

    run_study(trial, {"x": 1}, run={"callbacks": [Mine()]})
    run_study(fails, run={"callbacks": [Mine()]})
    assert heard == ["start", "result", "result", "result", "end False", "start", "end True"]


class Count(tune.Callback):
    count = 0

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.count += 1

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def test_a_callback_remembers_over_a_restore(run_study):
    mine = Count()
    grid = run_study(trial, {"x": tune.grid_search([1, 2])}, run={"callbacks": [mine]})
    tuner = tune.Tuner.restore(grid.experiment_path, trial)
    tuner.fit()
    assert tuner._given.run_config.callbacks[0].count == 2
