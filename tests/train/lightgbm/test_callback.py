"""RayTrainReportCallback in a loop in this process."""

import lightgbm
import numpy as np
import pytest

from heliostat.train import Checkpoint, DataParallelTrainer, ScalingConfig, WorkerGroupError
from heliostat.train.lightgbm import RayTrainReportCallback


@pytest.fixture
def fit(run_config):
    def fit(rounds=4, evals=True, **options):
        def loop():
            x = np.arange(80.0).reshape(-1, 1)
            rows = lightgbm.Dataset(x, x[:, 0] > 40)
            lightgbm.train(
                {"metric": ["rmse", "mae"], "verbosity": -1, "num_threads": 1}, rows, rounds,
                valid_sets=[rows] if evals else None, valid_names=["train"] if evals else None,
                callbacks=[RayTrainReportCallback(**options)],
            )  # fmt: skip

        return DataParallelTrainer(
            loop, scaling_config=ScalingConfig(num_workers=0), run_config=run_config()
        ).fit()

    return fit


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, [4]),
        ({"frequency": 3}, [3, 4]),
        ({"frequency": 2}, [2, 4]),
        ({"frequency": 3, "checkpoint_at_end": False}, [3]),
        ({"checkpoint_at_end": False}, []),
    ],
)
def test_every_round_is_reported_once_and_models_saved_when_asked(fit, options, kept):
    result = fit(**options)
    assert len(result.metrics_dataframe) == 4
    found = [RayTrainReportCallback.get_model(c) for c, _ in result.best_checkpoints or []]
    assert [model.num_trees() for model in found] == kept


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["train-l1", "train-rmse"]),
        ({"metrics": "train-l1"}, ["train-l1"]),
        ({"metrics": {"loss": "train-rmse"}}, ["loss"]),
        ({"results_postprocessing_fn": lambda m: {"sum": sum(m.values())}}, ["sum"]),
        ({"filename": "mine.txt"}, ["train-l1", "train-rmse"]),
    ],
)
def test_metrics_are_chosen_renamed_and_worked_over(fit, options, names):
    result = fit(**options)
    assert sorted(result.metrics) == names
    assert all(type(value) is float for value in result.metrics.values())
    name = options.get("filename", "model.txt")
    assert RayTrainReportCallback.get_model(result.checkpoint, name).num_trees() == 4


def test_an_unknown_metric_is_told_with_those_there_are(fit):
    with pytest.raises(WorkerGroupError, match="no metric 'loss'; there are: train-"):
        fit(metrics="loss")
    with pytest.raises(WorkerGroupError, match="got no valid_sets"):
        fit(metrics="loss", evals=False)


def test_a_frequency_below_zero_and_a_directory_without_the_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got -1; 0 for never"):
        RayTrainReportCallback(frequency=-1)
    (tmp_path / "other").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no model\.txt; it holds: other"):
        RayTrainReportCallback.get_model(Checkpoint(tmp_path))


def test_of_folds_the_means_are_reported_and_no_model_is_saved(run_config):
    def loop():
        x = np.arange(80.0).reshape(-1, 1)
        params = {"metric": "rmse", "verbosity": -1, "num_threads": 1}
        rows = lightgbm.Dataset(x, x[:, 0] > 40)
        lightgbm.cv(
            params, rows, 3, nfold=2, stratified=False, callbacks=[RayTrainReportCallback()]
        )

    result = DataParallelTrainer(
        loop, scaling_config=ScalingConfig(num_workers=0), run_config=run_config()
    ).fit()
    assert sorted(result.metrics) == ["valid-rmse-mean", "valid-rmse-stdv"]
    assert result.checkpoint is None
