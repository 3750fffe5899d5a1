"""RayTrainReportCallback in a loop in this process."""

import numpy as np
import pytest
import xgboost

from heliostat.train import Checkpoint, DataParallelTrainer, ScalingConfig, WorkerGroupError
from heliostat.train.xgboost import RayTrainReportCallback


@pytest.fixture
def fit(run_config):
    def fit(rounds=4, evals=True, **options):
        def loop():
            x = np.arange(40.0).reshape(-1, 1)
            matrix = xgboost.DMatrix(x, x[:, 0] > 20)
            xgboost.train(
                {"eval_metric": ["rmse", "mae"]}, matrix, rounds, verbose_eval=False,
                evals=[(matrix, "train")] if evals else (),
                callbacks=[RayTrainReportCallback(**options)],
            )  # fmt: skip

        return DataParallelTrainer(
            loop, scaling_config=ScalingConfig(num_workers=0), run_config=run_config()
        ).fit()

    return fit


def rounds_kept(result):
    kept = result.best_checkpoints or []
    return [RayTrainReportCallback.get_model(c).num_boosted_rounds() for c, _ in kept]


def test_every_round_is_reported_and_the_end_saved(fit):
    result = fit()
    assert list(result.metrics) == ["train-rmse", "train-mae"]
    assert len(result.metrics_dataframe) == 5
    assert rounds_kept(result) == [4]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"frequency": 3}, [3, 4]),
        ({"frequency": 2}, [2, 4]),
        ({"frequency": 3, "checkpoint_at_end": False}, [3]),
        ({"checkpoint_at_end": False}, []),
    ],
)
def test_models_are_saved_when_asked_and_never_twice(fit, options, kept):
    assert rounds_kept(fit(**options)) == kept


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ("train-mae", ["train-mae"]),
        (["train-mae", "train-rmse"], ["train-mae", "train-rmse"]),
        ({"loss": "train-rmse"}, ["loss"]),
    ],
)
def test_metrics_are_chosen_and_renamed(fit, metrics, names):
    assert list(fit(metrics=metrics).metrics) == names


def test_metrics_may_be_worked_over(fit):
    result = fit(results_postprocessing_fn=lambda m: {"sum": sum(m.values())})
    assert list(result.metrics) == ["sum"]
    assert type(result.metrics["sum"]) is float


def test_an_unknown_metric_is_told_with_those_there_are(fit):
    with pytest.raises(
        WorkerGroupError, match="no metric 'loss'; there are: train-rmse, train-mae"
    ):
        fit(metrics="loss")
    with pytest.raises(WorkerGroupError, match="got no evals"):
        fit(metrics="loss", evals=False)


def test_without_evals_the_model_is_saved_still(fit):
    assert rounds_kept(fit(evals=False)) == [4]


def test_a_checkpoint_without_the_model_says_what_it_holds(tmp_path):
    (tmp_path / "model.pt").touch()
    with pytest.raises(FileNotFoundError, match=r"holds no model.ubj; it holds: model.pt"):
        RayTrainReportCallback.get_model(Checkpoint(tmp_path))


def test_the_file_may_have_another_name(fit):
    result = fit(filename="model.json")
    assert (
        RayTrainReportCallback.get_model(result.checkpoint, "model.json").num_boosted_rounds() == 4
    )


def test_a_negative_frequency_is_refused():
    with pytest.raises(ValueError, match="-1"):
        RayTrainReportCallback(frequency=-1)
