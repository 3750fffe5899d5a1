"""Comet: each trial is an experiment. Comet itself is not needed: what we call of it is little."""

import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest

from heliostat import tune


class Experiment:
    """Remembers what it is told."""

    made: ClassVar[list] = []

    def __init__(self, **options):
        self.options, self.metrics, self.told, self.ended = options, [], {}, 0
        self.made.append(self)

    def set_name(self, name):
        self.name = name

    def add_tags(self, tags):
        self.tags = tags

    def log_parameters(self, parameters):
        self.parameters = parameters

    def log_system_info(self, name, value):
        self.told[name] = value

    def log_others(self, others):
        self.told.update(others)

    def log_metrics(self, metrics, step):
        self.metrics.append((step, metrics))

    def log_artifact(self, artifact):
        self.artifact = artifact

    def end(self):
        self.ended += 1


class Artifact:
    def __init__(self, name, artifact_type):
        self.name, self.type = name, artifact_type

    def add(self, directory):
        self.files = sorted(path.name for path in Path(directory).iterdir())


@pytest.fixture
def comet(monkeypatch):
    made = types.ModuleType("comet_ml")
    made.Experiment = made.OfflineExperiment = Experiment
    made.Artifact = Artifact
    made.config = types.ModuleType("comet_ml.config")
    made.config.set_global_experiment = lambda experiment: None
    monkeypatch.setitem(sys.modules, "comet_ml", made)
    monkeypatch.setitem(sys.modules, "comet_ml.config", made.config)
    monkeypatch.setattr(Experiment, "made", [])


@pytest.mark.usefixtures("comet")
def test_each_trial_is_an_experiment(run_study, tmp_path):
    from heliostat.air.integrations.comet import CometLoggerCallback

    def trial(config):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "weights").write_text("1")
        for step in range(2):
            metrics = {"loss": config["in"]["x"] / (step + 1)}
            tune.report(metrics, checkpoint=tune.Checkpoint(tmp_path / "model"))

    callback = CometLoggerCallback(
        online=False, tags=["a"], save_checkpoints=True, project_name="p", log_env_cpu=True
    )
    space = {"in": {"x": tune.grid_search([1, 2])}}
    grid = run_study(trial, space, run={"callbacks": [callback]})
    for made, result in zip(Experiment.made, grid, strict=True):
        x = result.config["in"]["x"]
        assert (made.parameters, made.tags, made.ended) == ({"in/x": x}, ["a"], 1)
        assert [(step, said["loss"]) for step, said in made.metrics] == [(1, x), (2, x / 2)]
        assert made.told["trial_id"] in made.name
        assert not {"done", "pid", "trial_id"} & set(made.metrics[0][1])
        assert made.artifact.files[-1] == "weights"
        assert (made.options["project_name"], made.options["log_env_cpu"]) == ("p", True)
        assert made.options["log_git_patch"] is False


def test_without_comet_it_says_what_to_install(monkeypatch):
    from heliostat.tune.integration.comet import CometLoggerCallback

    monkeypatch.setitem(sys.modules, "comet_ml", None)
    with pytest.raises(ImportError, match="pip install comet_ml"):
        CometLoggerCallback()
