"""Several ranks, each in a process of its own, joined by XGBoost's collective."""

import os
import signal
import sys

import cloudpickle
import numpy as np
import pytest
import xgboost

import heliostat
from heliostat.train import (
    CheckpointConfig,
    FailureConfig,
    ScalingConfig,
    WorkerGroupError,
    get_checkpoint,
    get_context,
    get_dataset_shard,
)
from heliostat.train.xgboost import RayTrainReportCallback, XGBoostConfig, XGBoostTrainer

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
PARAMS = {"objective": "binary:logistic", "max_depth": 3}


@pytest.fixture(scope="module", autouse=True)
def local():
    heliostat.init(num_cpus=2)
    yield
    heliostat.shutdown()


def trainer(run_config, table, workers=2, **options):
    return XGBoostTrainer(
        label_column="tip",
        params=PARAMS,
        num_boost_round=5,
        datasets={"train": heliostat.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=run_config(**options),
    )


def test_two_ranks_learn_from_all_rows(run_config, table):
    result = trainer(run_config, table).fit()
    matrix = xgboost.DMatrix(
        table.drop_columns(["tip"]).to_pandas(), np.asarray(table["tip"]).astype(float)
    )
    booster = XGBoostTrainer.get_model(result.checkpoint)
    predicted = booster.predict(matrix)
    label = matrix.get_label()
    loss = -np.mean(label * np.log(predicted) + (1 - label) * np.log(1 - predicted))
    # What the ranks agreed on is the loss over all rows, not over one rank's.
    assert result.metrics["train-logloss"] == pytest.approx(loss, rel=1e-4)
    assert len(result.metrics_dataframe) == 5
    assert os.listdir(result.checkpoint.path) == ["model.ubj"]


def test_xgboosts_ranks_are_ours_and_its_joining_is_silent(run_config, table, capfd):
    def loop():
        shard = get_dataset_shard("train").materialize().to_pandas()
        rank = xgboost.collective.get_rank()
        assert rank == get_context().get_world_rank()
        matrix = xgboost.DMatrix(shard.drop(columns="tip"), shard["tip"], nthread=1)
        xgboost.train(
            PARAMS, matrix, 3, evals=[(matrix, "all")], callbacks=[RayTrainReportCallback()],
            verbose_eval=False,
        )  # fmt: skip
        return xgboost.collective.get_world_size()

    result = XGBoostTrainer(
        loop,
        datasets={"train": heliostat.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    assert result.return_value == 2
    assert RayTrainReportCallback.get_model(result.checkpoint).num_boosted_rounds() == 3
    assert "got rank" not in "".join(capfd.readouterr())


def test_bad_parameters_are_told_in_xgboosts_words(run_config, table):
    bad = trainer(run_config, table).replace(params={"objective": "binary:nonsense"})
    with pytest.raises(WorkerGroupError, match=r"(?s)rank \d of 2 .*Unknown objective"):
        bad.fit()


@pytest.mark.parametrize("how", ["raise", "kill"])
@pytest.mark.parametrize("rank", [0, 1])
def test_the_culprit_is_named_and_not_those_it_left_alone(run_config, table, how, rank):
    def loop():
        def fail(round_):
            if round_ == 2 and get_context().get_world_rank() == rank:
                if how == "raise":
                    raise ValueError("the culprit")
                os.kill(os.getpid(), signal.SIGKILL)

        shard = get_dataset_shard("train").materialize().to_pandas()
        matrix = xgboost.DMatrix(shard.drop(columns="tip"), shard["tip"], nthread=1)
        booster = xgboost.Booster(PARAMS, [matrix])
        for round_ in range(100_000):
            fail(round_)
            booster.update(matrix, round_)

    failing = XGBoostTrainer(
        loop,
        datasets={"train": heliostat.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    )
    says = "failed .*the culprit" if how == "raise" else "died .*SIGKILL"
    with pytest.raises(WorkerGroupError, match=f"(?s)rank {rank} of 2 {says}"):
        failing.fit()


def test_a_killed_rank_is_started_again_from_the_last_checkpoint(run_config, table, tmp_path):
    class Kill(RayTrainReportCallback):
        def after_iteration(self, model, epoch, evals_log):
            done = super().after_iteration(model, epoch, evals_log)
            now = (model.num_boosted_rounds(), get_context().get_world_rank(), self.first)
            if now == (3, 1, True):
                os.kill(os.getpid(), signal.SIGKILL)
            return done

    def loop():
        last = get_checkpoint()
        booster = last and RayTrainReportCallback.get_model(last)
        began = booster.num_boosted_rounds() if booster else 0
        kill = Kill(frequency=2)
        kill.first = last is None
        shard = get_dataset_shard("train").materialize().to_pandas()
        matrix = xgboost.DMatrix(shard.drop(columns="tip"), shard["tip"], nthread=1)
        xgboost.train(
            PARAMS, matrix, 5 - began, evals=[(matrix, "train")], xgb_model=booster,
            callbacks=[kill], verbose_eval=False,
        )  # fmt: skip
        return began

    result = XGBoostTrainer(
        loop,
        datasets={"train": heliostat.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(failure_config=FailureConfig(max_failures=1)),
    ).fit()
    assert result.return_value == 2
    assert RayTrainReportCallback.get_model(result.checkpoint).num_boosted_rounds() == 5


def test_ranks_hold_their_models_together_when_checkpoints_come_often(run_config, table):
    often = CheckpointConfig(checkpoint_frequency=1, num_to_keep=2)
    result = trainer(run_config, table, checkpoint_config=often).fit()
    rounds = [XGBoostTrainer.get_model(c).num_boosted_rounds() for c, _ in result.best_checkpoints]
    assert rounds == [4, 5]


def test_other_communicators_are_refused():
    with pytest.raises(NotImplementedError, match="federated"):
        XGBoostConfig(xgboost_communicator="federated")
