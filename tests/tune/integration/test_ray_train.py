"""A trainer inside a trial: its reports are the trial's."""

import pytest

from heliostat import train, tune
from heliostat.tune.integration.ray_train import TuneReportCallback


def loop():
    for step in range(2):
        train.report({"loss": 1.0 / (step + 1)})


def test_what_the_trainer_reports_is_the_trials(run_study, tmp_path):
    def fit(config):
        train.DataParallelTrainer(
            loop,
            scaling_config=train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
            run_config=train.RunConfig(
                storage_path=str(tmp_path / "train"), callbacks=[TuneReportCallback()]
            ),
        ).fit()

    trainable = tune.with_resources(fit, {"cpu": 0.5})
    (result,) = run_study(trainable, {}, metric="loss", mode="min")
    assert result.metrics_dataframe["loss"].to_list() == [1.0, 0.5]


def test_a_checkpoint_is_named_and_stays_the_trainers(run_study, tmp_path):
    callback = TuneReportCallback()
    (result,) = run_study(
        lambda config: callback.after_report(None, [{"loss": 1}], train.Checkpoint(tmp_path)), {}
    )
    assert result.metrics["checkpoint_path"] == str(tmp_path)
    assert result.checkpoint is None


def test_outside_a_trial_it_says_so():
    with pytest.raises(RuntimeError, match="outside a trial"):
        TuneReportCallback().after_report(None, [{}], None)
