"""Rounds of XGBoost and LightGBM are reports of a trial."""

import importlib

import numpy as np
import pytest

X = np.arange(60.0).reshape(30, 2)
Y = X[:, 0] % 7


def boost_xgboost(callback):
    xgboost = pytest.importorskip("xgboost")
    data = xgboost.DMatrix(X, Y)
    params = {"nthread": 1}
    xgboost.train(
        params, data, 3, evals=[(data, "valid")], callbacks=[callback], verbose_eval=False
    )


def boost_lightgbm(callback):
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(X, Y)
    params = {"metric": "rmse", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 2}
    lightgbm.train(params, data, 3, valid_sets=[data], valid_names=["valid"], callbacks=[callback])


@pytest.mark.parametrize("boost", [boost_xgboost, boost_lightgbm])
def test_each_round_is_a_report_with_or_without_a_model(boost, run_study):
    name = boost.__name__.partition("_")[2]
    pytest.importorskip(name)
    integration = importlib.import_module(f"heliostat.tune.integration.{name}")
    (result,) = run_study(lambda _: boost(integration.TuneReportCallback({"loss": "valid-rmse"})))
    losses = result.metrics_dataframe["loss"]
    assert len(losses) == 3
    assert losses.is_monotonic_decreasing
    assert result.checkpoint is None
    callback = integration.TuneReportCheckpointCallback
    (result,) = run_study(lambda _: boost(callback("valid-rmse", frequency=1)))
    assert result.metrics["valid-rmse"] > 0
    assert callback.get_model(result.checkpoint)
