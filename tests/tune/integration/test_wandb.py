"""Weights & Biases: each trial is a run; what is offline needs no key."""

import pickle
import sys

import numpy as np
import pytest

from heliostat import train, tune
from heliostat.air.integrations.wandb import WandbLoggerCallback, setup_wandb
from heliostat.tune.integration import wandb as integration

pytestmark = pytest.mark.filterwarnings("ignore")


def test_without_wandb_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        WandbLoggerCallback("p")
    with pytest.raises(ImportError, match="pip install wandb"):
        setup_wandb()


def test_a_key_is_read_from_a_file_and_not_given_twice(tmp_path):
    file = tmp_path / "key"
    file.write_text("secret\n")
    assert integration._read_key(None, str(file)) == "secret"
    with pytest.raises(ValueError, match="twice"):
        integration._read_key("a", str(file))


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb = pytest.importorskip("wandb")
    yield wandb
    wandb.teardown()


class Kept(WandbLoggerCallback):
    """Keeps of each run what can be looked at while it runs only."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.kept = []

    def log_trial_end(self, trial, failed=False):
        if run := self._runs.get(trial.trial_id):
            self.kept.append((run.id, run.group, dict(run.config), dict(run.summary)))
        super().log_trial_end(trial, failed)


def test_a_project_is_needed(wandb, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    with pytest.raises(ValueError, match="needs project=, or WANDB_PROJECT"):
        WandbLoggerCallback()
    monkeypatch.setenv("WANDB_PROJECT", "p")
    callback = WandbLoggerCallback(api_key="secret")
    assert b"secret" not in pickle.dumps(callback)


@pytest.mark.usefixtures("wandb")
def test_each_trial_is_a_run_with_what_is_not_excluded(run_study, tmp_path):
    def trial(config):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "weights").write_text("1")
        for step in range(2):
            metrics = {"loss": config["x"] / (step + 1), "in": {"n": step}, "secret": 1}
            tune.report(metrics, checkpoint=tune.Checkpoint(tmp_path / "model"))

    callback = Kept(
        "p", mode="offline", dir=str(tmp_path), excludes=["secret", "hidden"], log_config=True,
        upload_checkpoints=True,
    )  # fmt: skip
    space = {"x": tune.grid_search([1, 2]), "hidden": 3}
    run_study(trial, space, run={"callbacks": [callback]})
    for (run_id, group, config, summary), loss in zip(callback.kept, (0.5, 1.0), strict=True):
        assert (group, config["trial_id"]) == ("trial", run_id)
        assert (summary["loss"], summary["in/n"]) == (loss, 1)
        assert summary["config/x"] == config["x"]
        assert not {"secret", "done", "pid"} & set(summary)
        assert "hidden" not in config
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2


def test_pictures_are_sent_as_pictures(wandb):
    callback = WandbLoggerCallback("p")
    assert isinstance(callback._shown(np.zeros((2, 2, 3), np.uint8)), wandb.Image)
    assert len(callback._shown(np.zeros((4, 2, 2, 3), np.uint8))) == 4
    assert callback._shown(1.5) == 1.5


@pytest.mark.usefixtures("wandb")
def test_code_of_a_trial_and_of_the_first_rank_has_a_run(run_study, tmp_path):
    def trial(config):
        run = setup_wandb({**config, "wandb": {"project": "p"}}, mode="offline", dir=str(tmp_path))
        run.log({"loss": 1.0})
        run.finish()
        return {"id": run.id, "kept": dict(run.config)["x"]}

    (result,) = run_study(trial, {"x": 1})
    assert (result.metrics["id"], result.metrics["kept"]) == (result.metrics["trial_id"], 1)

    def loop():
        run = setup_wandb({}, project="p", mode="offline", dir=str(tmp_path))
        train.report({"disabled": run.disabled})
        run.finish()

    trainer = train.DataParallelTrainer(
        loop,
        scaling_config=train.ScalingConfig(num_workers=1),
        run_config=train.RunConfig(storage_path=str(tmp_path / "train")),
    )
    assert not trainer.fit().metrics["disabled"]
