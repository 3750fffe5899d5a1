"""Loggers: files for other tools, and callbacks that remember."""

import csv
import pickle
import sys
import types
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from heliostat import tune
from heliostat.tune.logger import (
    CSVLoggerCallback,
    JsonLoggerCallback,
    LoggerCallback,
    TBXLoggerCallback,
    pretty_print,
)
from heliostat.tune.logger.aim import AimLoggerCallback


def trial(config):
    for n in range(3):
        tune.report({"loss": config["x"] / (n + 1), "in": {"n": n}, "text": "a"})


def test_csv_has_a_row_a_report_with_nested_names(run_study):
    for callbacks in ([], [CSVLoggerCallback()]):
        [result] = run_study(trial, {"x": 6.0}, run={"callbacks": callbacks})
        with Path(result.path, "progress.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["loss"]) for row in rows] == [6.0, 3.0, 2.0]
        assert [row["in/n"] for row in rows] == ["0", "1", "2"]
        assert [row["training_iteration"] for row in rows] == ["1", "2", "3"]


def test_json_adds_the_pickled_configuration(run_study):
    [result] = run_study(trial, {"x": 6.0}, run={"callbacks": [JsonLoggerCallback()]})
    assert pickle.loads(Path(result.path, "params.pkl").read_bytes()) == {"x": 6.0}
    assert {"params.json", "result.json"} <= {path.name for path in Path(result.path).iterdir()}


def test_tensorboard_gets_events(run_study):
    pytest.importorskip("tensorboardX")
    [result] = run_study(trial, {"x": 6.0}, run={"callbacks": [TBXLoggerCallback()]})
    [events] = Path(result.path).glob("events.out.tfevents*")
    data = events.read_bytes()
    # Once for each report, and once for what the configuration came to.
    assert data.count(b"ray/tune/loss") == data.count(b"ray/tune/in/n") == 3 + 1
    assert b"_hparams_/session_start_info" in data


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


class Run(dict):
    """Remembers what Aim would keep."""

    made: ClassVar[list] = []

    def __init__(self, **options):
        self.options, self.tracked, self.closed = options, [], 0
        self.made.append(self)

    def track(self, value, name, **about):
        self.tracked.append((name, value, about["step"], about["epoch"]))

    def close(self):
        self.closed += 1


def test_aim_gets_the_numbers_of_each_report(run_study, monkeypatch, tmp_path):
    aim = types.ModuleType("aim")
    aim.Run = Run
    monkeypatch.setitem(sys.modules, "aim", aim)
    monkeypatch.setattr(Run, "made", [])

    def said(config):
        for n in range(2):
            tune.report({"loss": config["x"] + n, "text": "a", "bad": float("nan"), "epoch": n})

    callback = AimLoggerCallback(metrics=["loss", "bad"], log_system_params=True)
    space = {"x": np.float64(6.0), "of": {"f": print, "t": "b"}}
    run_study(said, space, run={"name": "s", "callbacks": [callback]})
    [run] = Run.made
    assert run.tracked == [("ray/tune/loss", 6.0, 1, 0), ("ray/tune/loss", 7.0, 2, 1)]
    assert run.options == {
        "repo": str(tmp_path / "s"), "experiment": "s", "log_system_params": True
    }  # fmt: skip
    assert (run["hparams"], run.closed) == ({"x": 6.0, "of/t": "b"}, 1)
    assert run["trial_log_dir"].startswith(str(tmp_path / "s"))
    with pytest.raises(ValueError, match="None for all"):
        AimLoggerCallback(metrics=[])


def test_without_aim_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "aim", None)
    with pytest.raises(ImportError, match="pip install aim"):
        AimLoggerCallback()


def test_a_report_is_printed_as_yaml(monkeypatch):
    text = pretty_print({"a": 1, "b": None, "n": np.int64(3), "config": {}, "c": 2}, {"c"})
    assert text == "a: 1\nn: 3\n"
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match="pip install pyyaml"):
        pretty_print({})


def test_callbacks_see_checkpoints_and_directories_of_trials(run_study, tmp_path):
    seen = []

    class Look(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            seen.append((trial.checkpoint.path, trial.logdir, trial.local_path))

        def __deepcopy__(self, memo):
            return self

    def saves(config):
        (tmp_path / "model").mkdir()
        tune.report({"loss": 1}, checkpoint=tune.Checkpoint(tmp_path / "model"))

    [result] = run_study(saves, run={"callbacks": [Look()]})
    assert seen == [(result.checkpoint.path, result.path, result.path)]
