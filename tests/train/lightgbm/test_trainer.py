"""LightGBMTrainer with one rank, on the inline engine."""

import lightgbm
import numpy as np
import pytest

import heliostat
from heliostat.train import CheckpointConfig, ControllerError, ScalingConfig
from heliostat.train.lightgbm import LightGBMTrainer, get_network_params

PARAMS = {"objective": "binary", "metric": ["binary_logloss", "auc"], "num_threads": 1}


@pytest.fixture(autouse=True, scope="module")
def inline():
    heliostat.init(engine="inline", num_cpus=2, num_gpus=0)
    yield
    heliostat.shutdown()


@pytest.fixture
def make(run_config, table, valid_table):
    def make(size=1, checkpoint_config=None, **options):
        arguments = {
            "label_column": "tip", "params": PARAMS, "num_boost_round": 6,
            "datasets": {
                "train": heliostat.data.from_arrow(table),
                "valid": heliostat.data.from_arrow(valid_table),
            },
            "scaling_config": ScalingConfig(num_workers=size),
            "run_config": run_config(checkpoint_config=checkpoint_config),
        }  # fmt: skip
        return LightGBMTrainer(**{**arguments, **options})

    return make


def plain(table, valid_table):
    """The same by LightGBM alone."""

    def rows(t):
        return t.drop_columns(["tip"]).to_pandas(), np.asarray(t["tip"]).astype(float)

    seen, train = {}, lightgbm.Dataset(*rows(table))
    booster = lightgbm.train(
        {**PARAMS, "verbosity": -1}, train, 6, valid_sets=[lightgbm.Dataset(*rows(valid_table))],
        valid_names=["valid"], callbacks=[lightgbm.record_evaluation(seen)],
    )  # fmt: skip
    return booster, seen, rows(valid_table)[0]


@pytest.mark.parametrize("size", [0, 1])
def test_it_is_lightgbm_itself(make, table, valid_table, size):
    result = make(size).fit()
    booster, seen, valid = plain(table, valid_table)
    frame = result.metrics_dataframe
    assert list(frame.columns) == [
        f"{data}-{metric}" for data in ("train", "valid") for metric in PARAMS["metric"]
    ]
    assert list(frame["valid-auc"]) == pytest.approx(seen["valid"]["auc"], rel=1e-9)
    ours = LightGBMTrainer.get_model(result.checkpoint)
    assert np.array_equal(ours.predict(valid), booster.predict(valid))
    assert ours.feature_name() == ["distance", "hour", "passengers"]


def test_one_report_a_round_and_checkpoints_when_asked(make):
    result = make(checkpoint_config=CheckpointConfig(checkpoint_frequency=4)).fit()
    assert len(result.metrics_dataframe) == 6
    kept = [LightGBMTrainer.get_model(c).num_trees() for c, _ in result.best_checkpoints]
    assert kept == [4, 6]
    never = CheckpointConfig(checkpoint_at_end=False)
    assert make(checkpoint_config=never).fit().checkpoint is None


def test_it_goes_on_from_a_model_it_is_given(make):
    first = make(num_boost_round=2).fit()
    result = make(resume_from_checkpoint=first.checkpoint).fit()
    assert LightGBMTrainer.get_model(result.checkpoint).num_trees() == 6
    assert len(result.metrics_dataframe) == 4
    assert make(num_boost_round=2, resume_from_checkpoint=first.checkpoint).fit().metrics is None


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"label_column": None}, ValueError, "LightGBMTrainer needs a label_column"),
        ({"params": [1]}, TypeError, "params must be a dict"),
        ({"num_boost_round": 0}, ValueError, "num_boost_round .* got 0"),
        ({"datasets": {"test": 1}}, ValueError, r"named 'train', got \['test'\]"),
        ({"train_loop_per_worker": print}, ValueError, "either a training loop or label_column"),
        ({"train_loop_config": {}}, ValueError, "train_loop_config is for"),
    ],
)
def test_arguments_that_cannot_be_are_refused(make, wrong, error, says):
    with pytest.raises(error, match=says):
        make(**wrong)


@pytest.mark.parametrize(
    ("size", "rows", "error", "says"),
    [
        (1, [{"tip": 1}], ValueError, "no column beside the label"),
        (1, [{"x": 1}], ValueError, "label_column='tip' is not in"),
        (1, [{"x": "a", "tip": 1}], TypeError, "LightGBM takes numbers, .*'x' of type string"),
        (2, [{"x": 1, "tip": 1}], ValueError, "1 rows for 2 workers"),
        (2, [{"x": 1, "tip": 1}] * 9, ControllerError, "LightGBM's 2 ranks must run at once"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_refused(make, size, rows, error, says):
    datasets = {"train": heliostat.data.from_items(rows)}
    with pytest.raises(error, match=says):
        make(size, datasets=datasets).fit()


def test_a_loop_in_this_process_leaves_no_network_behind(run_config, caplog):
    scaling = ScalingConfig(num_workers=1)
    LightGBMTrainer(get_network_params, scaling_config=scaling, run_config=run_config()).fit()
    assert get_network_params() == {}
    assert "outside the loop of a LightGBMTrainer" in caplog.text
