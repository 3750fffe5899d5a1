"""Keras in a rank: the callback reports and saves. Keras itself is not needed: its protocol is small."""

import sys
import types
from pathlib import Path

import pytest

from heliostat import train, tune
from heliostat.train.tensorflow import TensorflowCheckpoint, prepare_dataset_shard


class Model:
    """Fits as Keras does, as far as callbacks see."""

    def __init__(self, text="weights"):
        self.text = text

    def save(self, path):
        Path(path).write_text(self.text)

    def fit(self, epochs, callbacks):
        def tell(event, *said):
            for callback in callbacks:
                callback.model = self
                getattr(callback, f"on_{event}", lambda *_: None)(*said)

        tell("train_begin", {})
        for epoch in range(epochs):
            tell("epoch_begin", epoch, {})
            tell("train_batch_end", 0, {"loss": 9.0})
            tell("epoch_end", epoch, {"loss": 1 / (epoch + 1), "acc": 0.5})
        tell("train_end", {"loss": 0.1})


@pytest.fixture
def keras(monkeypatch):
    """What Keras has, as far as a callback and a checkpoint need it."""
    made = types.ModuleType("keras")
    made.callbacks = types.ModuleType("keras.callbacks")
    made.callbacks.Callback = type("Callback", (), {})
    made.models = types.SimpleNamespace(load_model=lambda path: Model(Path(path).read_text()))
    monkeypatch.setitem(sys.modules, "keras", made)
    monkeypatch.setitem(sys.modules, "keras.callbacks", made.callbacks)
    for module in ("train.tensorflow.keras", "air.integrations.keras", "tune.integration.keras"):
        monkeypatch.delitem(sys.modules, f"heliostat.{module}", raising=False)
    yield made
    for module in ("train.tensorflow.keras", "air.integrations.keras", "tune.integration.keras"):
        sys.modules.pop(f"heliostat.{module}", None)


@pytest.mark.usefixtures("keras", "inline")
def test_each_epoch_is_a_report_with_the_model(run_config):
    from heliostat.air.integrations.keras import ReportCheckpointCallback

    def loop():
        Model().fit(3, [ReportCheckpointCallback(metrics={"l": "loss"})])

    result = train.DataParallelTrainer(loop, run_config=run_config()).fit()
    assert list(result.metrics_dataframe["l"]) == [1, 1 / 2, 1 / 3]
    assert result.metrics == {"l": 1 / 3}
    assert TensorflowCheckpoint(result.checkpoint.path).get_model().text == "weights"


@pytest.mark.usefixtures("keras", "inline")
def test_it_reports_at_the_events_that_it_is_told_in_trials_too(tmp_path):
    from heliostat.tune.integration.keras import TuneReportCheckpointCallback

    def trial(config):
        callback = TuneReportCheckpointCallback(
            checkpoint_on=[], report_metrics_on=["train_batch_end", "train_end"], metrics="loss"
        )
        Model().fit(2, [callback])

    run = tune.RunConfig(storage_path=str(tmp_path), verbose=0)
    [result] = tune.Tuner(trial, run_config=run).fit()
    assert list(result.metrics_dataframe["loss"]) == [9.0, 9.0, 0.1]
    assert result.checkpoint is None


@pytest.mark.usefixtures("keras")
def test_events_and_metrics_that_keras_does_not_have_are_named():
    from heliostat.train.tensorflow.keras import ReportCheckpointCallback

    with pytest.raises(ValueError, match="Keras has no event 'epoch'; it has: epoch_begin"):
        ReportCheckpointCallback(checkpoint_on="epoch")
    callback = ReportCheckpointCallback(metrics=["f1"])
    with pytest.raises(KeyError, match="no metric 'f1' at epoch_end; there are: loss"):
        callback.on_epoch_end(0, {"loss": 1})


def test_without_keras_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "keras.callbacks", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    sys.modules.pop("heliostat.train.tensorflow.keras", None)
    with pytest.raises(ImportError, match="needs Keras: pip install"):
        __import__("heliostat.train.tensorflow.keras")
    with pytest.raises(ImportError, match="needs Keras: pip install"):
        TensorflowCheckpoint(tmp_path).get_model()
    with pytest.raises(ImportError, match="needs TensorFlow"):
        prepare_dataset_shard(None)


@pytest.mark.usefixtures("keras")
def test_models_in_older_formats_are_kept_with_their_names(tmp_path):
    (tmp_path / "a.h5").write_text("old")
    assert TensorflowCheckpoint.from_h5(str(tmp_path / "a.h5")).get_model().text == "old"
    saved = TensorflowCheckpoint.from_saved_model(str(tmp_path))
    assert (Path(saved.path) / "a.h5").read_text() == "old"
    with pytest.raises(ValueError, match=r"ends in \.h5"):
        TensorflowCheckpoint.from_h5(str(tmp_path))
    with pytest.raises(ValueError, match="must be a directory"):
        TensorflowCheckpoint.from_saved_model(str(tmp_path / "a.h5"))


def test_a_shard_is_not_divided_again(monkeypatch):
    made = types.ModuleType("tensorflow")
    policies = types.SimpleNamespace(AutoShardPolicy=types.SimpleNamespace(OFF="off"))
    options = types.SimpleNamespace(experimental_distribute=types.SimpleNamespace())
    made.data = types.SimpleNamespace(
        Options=lambda: options, experimental=policies, AUTOTUNE="ahead"
    )
    monkeypatch.setitem(sys.modules, "tensorflow", made)

    class Shard:
        def with_options(self, options):
            self.policy = options.experimental_distribute.auto_shard_policy
            return self

        def prefetch(self, size):
            return self.policy, size

    assert prepare_dataset_shard(Shard()) == ("off", "ahead")
