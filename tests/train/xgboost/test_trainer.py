"""XGBoostTrainer with one rank, on the inline engine."""

import numpy as np
import pyarrow as pa
import pytest
import xgboost

import heliostat
from heliostat.train import (
    CheckpointConfig,
    ControllerError,
    DataConfig,
    DataParallelTrainer,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    UserCallback,
    WorkerGroupError,
    get_dataset_shard,
)
from heliostat.train.xgboost import RayTrainReportCallback, XGBoostTrainer

PARAMS = {"objective": "binary:logistic", "max_depth": 3, "eval_metric": ["logloss", "error"]}


@pytest.fixture(autouse=True)
def inline():
    heliostat.init(engine="inline", num_cpus=2, num_gpus=0)
    yield
    heliostat.shutdown()


@pytest.fixture
def datasets(table, valid_table):
    return {
        "train": heliostat.data.from_arrow(table),
        "valid": heliostat.data.from_arrow(valid_table),
    }


@pytest.fixture
def make(run_config, datasets):
    def make(size=1, checkpoint_config=None, failure_config=None, **options):
        arguments = {
            "label_column": "tip", "params": PARAMS, "num_boost_round": 6, "datasets": datasets,
            "scaling_config": ScalingConfig(num_workers=size),
            "run_config": run_config(
                checkpoint_config=checkpoint_config, failure_config=failure_config
            ),
        }  # fmt: skip
        return XGBoostTrainer(**{**arguments, **options})

    return make


def plain(table, valid_table, rounds=6):
    """The same by XGBoost alone."""

    def matrix(t):
        return xgboost.DMatrix(
            t.drop_columns(["tip"]).to_pandas(), np.asarray(t["tip"]).astype(float)
        )

    seen, train = {}, matrix(table)
    booster = xgboost.train(
        PARAMS, train, rounds, evals=[(train, "train"), (matrix(valid_table), "valid")],
        evals_result=seen, verbose_eval=False,
    )  # fmt: skip
    return booster, seen, matrix(valid_table)


@pytest.mark.parametrize("size", [0, 1])
def test_it_is_xgboost_itself(make, table, valid_table, size):
    result = make(size).fit()
    booster, seen, valid = plain(table, valid_table)
    frame = result.metrics_dataframe
    assert list(frame.columns) == ["train-logloss", "train-error", "valid-logloss", "valid-error"]
    assert list(frame["valid-logloss"]) == pytest.approx(seen["valid"]["logloss"], rel=1e-6)
    ours = XGBoostTrainer.get_model(result.checkpoint)
    assert np.array_equal(ours.predict(valid), booster.predict(valid))
    assert ours.feature_names == ["distance", "hour", "weekend", "passengers"]


def test_one_report_a_round_and_one_checkpoint_at_the_end(make):
    result = make().fit()
    assert len(result.metrics_dataframe) == 6
    assert len(result.best_checkpoints) == 1
    assert result.metrics == result.best_checkpoints[0][1]
    assert result.config == {"label_column": "tip", "params": PARAMS, "num_boost_round": 6}


def test_checkpoints_now_and_then_are_models_of_so_many_rounds(make):
    result = make(checkpoint_config=CheckpointConfig(checkpoint_frequency=4)).fit()
    rounds = [XGBoostTrainer.get_model(c).num_boosted_rounds() for c, _ in result.best_checkpoints]
    assert rounds == [4, 6]


def test_no_checkpoint_at_the_end_if_so_asked(make):
    assert (
        make(checkpoint_config=CheckpointConfig(checkpoint_at_end=False)).fit().checkpoint is None
    )


def test_a_restart_goes_on_from_the_last_checkpoint_and_ends_with_the_same_model(
    make, table, valid_table, tmp_path
):
    from xgboost.callback import TrainingCallback

    class FailOnce(TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            if epoch == 4 and not (tmp_path / "failed").exists():
                (tmp_path / "failed").touch()
                raise OSError("once")
            return False

    original = xgboost.train

    def failing(*args, callbacks, **kwargs):
        return original(*args, callbacks=[FailOnce(), *callbacks], **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xgboost, "train", failing)
        result = make(
            checkpoint_config=CheckpointConfig(checkpoint_frequency=2),
            failure_config=FailureConfig(max_failures=1),
        ).fit()
    booster, _, valid = plain(table, valid_table)
    ours = XGBoostTrainer.get_model(result.checkpoint)
    assert ours.num_boosted_rounds() == 6
    assert ours.predict(valid) == pytest.approx(booster.predict(valid), rel=1e-4)


def test_it_goes_on_from_a_model_it_is_given(make):
    first = make(num_boost_round=2).fit()
    result = make(resume_from_checkpoint=first.checkpoint).fit()
    assert XGBoostTrainer.get_model(result.checkpoint).num_boosted_rounds() == 6
    assert len(result.metrics_dataframe) == 4


def test_replace_goes_into_params(make):
    trainer = make().replace(params={"max_depth": 1}, num_boost_round=2)
    result = trainer.fit()
    assert result.config["params"] == {**PARAMS, "max_depth": 1}
    assert len(result.metrics_dataframe) == 2


def test_a_function_may_make_the_dataset(make, table):
    result = make(datasets={"train": lambda: heliostat.data.from_arrow(table)}).fit()
    assert "train-logloss" in result.metrics


def test_numbers_of_every_kind_are_taken(make, table):
    odd = (
        table.append_column("null", pa.nulls(1000))
        .append_column("half", pa.array(np.ones(1000, "float16")))
        .append_column("money", pa.array(range(1000)).cast(pa.decimal128(30, 2)))
    )
    result = make(datasets={"train": heliostat.data.from_arrow(odd)}).fit()
    assert len(XGBoostTrainer.get_model(result.checkpoint).feature_names) == 7


def test_a_loop_of_ones_own_reports_through_the_callback(run_config, datasets):
    def loop(config):
        shard = get_dataset_shard("train").materialize().to_pandas()
        matrix = xgboost.DMatrix(shard.drop(columns="tip"), shard["tip"])
        xgboost.train(
            config, matrix, 3, evals=[(matrix, "train")], verbose_eval=False,
            callbacks=[RayTrainReportCallback(metrics={"loss": "train-logloss"})],
        )  # fmt: skip

    result = XGBoostTrainer(
        loop, train_loop_config=PARAMS, datasets=datasets, run_config=run_config()
    ).fit()
    assert list(result.metrics) == ["loss"]
    assert RayTrainReportCallback.get_model(result.checkpoint).num_boosted_rounds() == 3


class Rounds(UserCallback):
    def __init__(self):
        self.seen = []

    def after_report(self, run_context, metrics, checkpoint):
        self.seen.append((round(metrics[0]["train-error"], 1) >= 0, checkpoint is not None))


def test_callbacks_hear_of_every_round(make, run_config):
    rounds = Rounds()
    make(run_config=run_config(callbacks=[rounds])).fit()
    assert rounds.seen == [(True, False)] * 5 + [(True, True)]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"label_column": "tipp"}, ValueError, "'tipp'.*'train'.*distance, hour, .*tip"),
        ({"label_column": None}, ValueError, "label_column"),
        ({"datasets": {"valid": None}}, ValueError, r"'train', got \['valid'\]"),
        ({"datasets": None}, ValueError, "'train', got None"),
        ({"params": [1]}, TypeError, "params"),
        ({"num_boost_round": 0}, ValueError, "num_boost_round.*0"),
        ({"train_loop_per_worker": print}, ValueError, "either a training loop or label_column"),
        ({"train_loop_config": {}}, ValueError, "params"),
        ({"size": 2}, ControllerError, r"2 ranks must run at once.*num_workers=1"),
    ],
)
def test_what_cannot_be_is_refused(make, options, error, says):
    with pytest.raises(error, match=says):
        make(**options).fit()


def test_columns_that_are_not_numbers_are_named(make, table):
    zones = table.append_column("zone", pa.array(["Bronx"] * 1000))
    with pytest.raises(TypeError, match="'zone' of type string; drop them with drop_columns"):
        make(datasets={"train": heliostat.data.from_arrow(zones)}).fit()


def test_a_dataset_without_the_label_or_without_features_is_refused(make, table):
    valid = heliostat.data.from_arrow(table.drop_columns(["tip"]))
    with pytest.raises(ValueError, match=r"datasets\['valid'\]; its columns are: distance"):
        make(datasets={"train": heliostat.data.from_arrow(table), "valid": valid}).fit()
    with pytest.raises(ValueError, match="no column beside the label"):
        make(datasets={"train": heliostat.data.from_arrow(table.select(["tip"]))}).fit()


def test_fewer_rows_than_workers_are_refused(make, table):
    with pytest.raises(ValueError, match="has 1 rows for 2 workers"):
        make(2, datasets={"train": heliostat.data.from_arrow(table.slice(0, 1))}).fit()


def test_what_xgboost_says_of_bad_parameters_is_shown_with_the_rank(make):
    with pytest.raises(WorkerGroupError, match=r"(?s)rank 0 of 1 .*Unknown objective"):
        make(params={"objective": "binary:nonsense"}).fit()


def test_the_threads_of_a_rank_are_its_cpus_or_its_share_of_the_machine(make):
    import os

    here = min(2, len(os.sched_getaffinity(0)))
    assert make()._threads() == here
    assert make(2)._threads() == max(1, here // 2)
    assert make(scaling_config=ScalingConfig(resources_per_worker={"CPU": 1}))._threads() == 1
    assert make(scaling_config=ScalingConfig(resources_per_worker={"CPU": 0.5}))._threads() == 1
    inside = heliostat.remote(lambda: make()._threads()).remote()
    assert heliostat.get(inside) == 1


def test_the_trainer_knows_what_a_trial_would_need():
    trainer = XGBoostTrainer(
        label_column="y",
        datasets={"train": heliostat.data.range(3)},
        scaling_config=ScalingConfig(num_workers=4, use_gpu=True),
        run_config=RunConfig(name="x"),
        dataset_config=DataConfig(["train"]),
    )
    assert isinstance(trainer, DataParallelTrainer)
    assert trainer.scaling_config.total_resources == {"GPU": 4}
    assert trainer.run_config.name == "x"
