"""Several ranks, each in a process of its own, joined by LightGBM's sockets."""

import os
import signal
import socket
import sys
from pathlib import Path

import cloudpickle
import lightgbm
import numpy as np
import pytest

import heliostat
from heliostat.train import (
    FailureConfig,
    ScalingConfig,
    WorkerGroupError,
    get_checkpoint,
    get_context,
    get_dataset_shard,
)
from heliostat.train.lightgbm import (
    LightGBMTrainer,
    RayTrainReportCallback,
    _backend,
    get_network_params,
    normalize_pandas_for_lightgbm,
)

# Workers cannot import test modules by name.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
PARAMS = {"objective": "binary", "num_leaves": 7, "num_threads": 1, "verbosity": -1}


@pytest.fixture(scope="module", autouse=True)
def local():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_PRELOAD", "asyncio,numpy,pandas,pyarrow,lightgbm,heliostat")
        heliostat.init(num_cpus=2)
        yield
        heliostat.shutdown()


def boost(rounds, callbacks):
    """A loop of a user's: goes on from the last checkpoint, with what `callbacks` makes."""
    last = get_checkpoint()
    booster = last and RayTrainReportCallback.get_model(last)
    began = booster.current_iteration() if booster else 0
    frame = normalize_pandas_for_lightgbm(get_dataset_shard("train").materialize().to_pandas())
    rows = lightgbm.Dataset(frame.drop(columns="tip"), frame["tip"].astype(int))
    params = {
        **PARAMS, "tree_learner": "data_parallel", "pre_partition": True, **get_network_params(),
    }  # fmt: skip
    lightgbm.train(
        params, rows, rounds - began, valid_sets=[rows], valid_names=["train"],
        init_model=booster, callbacks=callbacks(),
    )  # fmt: skip
    return began


def fit(loop, run_config, table, **options):
    return LightGBMTrainer(
        loop,
        datasets={"train": heliostat.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(**options),
    ).fit()


@pytest.mark.parametrize("quiet", ["verbosity", "verbose"])
def test_two_ranks_learn_from_all_rows_and_their_joining_is_silent(run_config, table, capfd, quiet):
    params = {**PARAMS, quiet: PARAMS["verbosity"]}
    if quiet != "verbosity":
        del params["verbosity"]
    result = LightGBMTrainer(
        label_column="tip",
        params=params,
        num_boost_round=20,
        datasets={"train": heliostat.data.from_arrow(table)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    booster = LightGBMTrainer.get_model(result.checkpoint)
    # A leaf counts the rows of both ranks.
    counts = booster.trees_to_dataframe().query("tree_index == 0 and left_child.isnull()")["count"]
    assert counts.sum() == table.num_rows
    label = np.asarray(table["tip"]).astype(float)
    predicted = booster.predict(table.drop_columns(["tip"]).to_pandas())
    assert ((predicted > 0.5) == label).mean() > 0.95
    assert len(result.metrics_dataframe) == 20
    assert "bind port" not in "".join(capfd.readouterr())


def test_a_loop_trains_with_all_ranks_and_is_told_the_same_each_time(run_config, table, capfd):
    def loop():
        before = get_network_params()
        boost(3, lambda: [RayTrainReportCallback()])
        assert get_network_params() == before
        return get_network_params()["num_machines"]

    result = fit(loop, run_config, table)
    assert result.return_value == 2
    assert list(result.metrics) == ["train-binary_logloss"]
    assert RayTrainReportCallback.get_model(result.checkpoint).num_trees() == 3
    assert "bind port" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_is_named_and_not_those_it_left_alone(run_config, table, rank):
    def loop():
        def kill(env):
            if env.iteration == 2 and get_context().get_world_rank() == rank:
                os.kill(os.getpid(), signal.SIGKILL)

        boost(10_000, lambda: [kill])

    with pytest.raises(WorkerGroupError, match=f"(?s)rank {rank} of 2 died .*SIGKILL"):
        fit(loop, run_config, table)


def test_a_killed_rank_is_started_again_from_the_last_checkpoint(run_config, table):
    def loop():
        first = get_checkpoint() is None

        def kill(env):
            if env.iteration == 2 and get_context().get_world_rank() == 1 and first:
                os.kill(os.getpid(), signal.SIGKILL)

        kill.order = 1000  # after the report
        return boost(5, lambda: [RayTrainReportCallback(frequency=2), kill])

    result = fit(loop, run_config, table, failure_config=FailureConfig(max_failures=1))
    assert result.return_value == 2
    assert RayTrainReportCallback.get_model(result.checkpoint).num_trees() == 5


def test_outside_a_loop_there_is_no_network_and_a_warning(caplog):
    assert get_network_params() == {}
    assert "outside the loop of a LightGBMTrainer" in caplog.text


def test_a_rank_waits_at_a_port_that_the_system_gives_to_nobody_by_itself():
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    with pytest.MonkeyPatch.context() as patch, socket.socket() as other:
        patch.setattr(_backend._Here, "held", None)
        patch.setattr(_backend._Here, "port", 0)
        port = _backend._hold_port()
        held = _backend._Here.held
        assert port == held.getsockname()[1]
        assert not first <= port <= last
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        held.close()
