"""What each rank runs for `LightGBMTrainer(label_column=..., params=...)`: its rows, boosted.

It does not know how ranks are joined.
"""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pyarrow as pa

import heliostat.train as train
from heliostat.train._boosting import Boosting, rows_of
from heliostat.train.lightgbm._backend import get_network_params
from heliostat.train.lightgbm._callback import RayTrainReportCallback

# By any of its names.
THREADS = ("num_threads", "num_thread", "nthread", "nthreads", "n_jobs")


def boost(job: Boosting) -> None:
    """Train on this rank's rows, together with the other ranks."""
    checkpoint = train.get_checkpoint()
    booster = None if checkpoint is None else RayTrainReportCallback.get_model(checkpoint)
    rounds = job.num_boost_round - (booster.current_iteration() if booster else 0)
    if rounds <= 0:
        return
    params = _params(job)
    sets = {name: _rows(name, job, params) for name in job.evaluated}
    lightgbm.train(
        params,
        sets["train"],
        num_boost_round=rounds,
        valid_sets=list(sets.values()),
        valid_names=list(sets),
        init_model=booster,
        callbacks=[RayTrainReportCallback(
            frequency=job.checkpoint_frequency, checkpoint_at_end=job.checkpoint_at_end
        )],
    )  # fmt: skip


def _params(job: Boosting) -> dict[str, Any]:
    network = get_network_params() if train.get_context().get_world_size() > 1 else {}
    joined = {"tree_learner": "data_parallel", "pre_partition": True} if network else {}
    threads = {} if any(name in job.params for name in THREADS) else {"num_threads": job.threads}
    quiet = {} if {"verbose", "verbosity"} & set(job.params) else {"verbosity": -1}
    return {**joined, **threads, **quiet, **job.params, **network}


def _rows(name: str, job: Boosting, params: dict[str, Any]) -> lightgbm.Dataset:
    features, label = rows_of(name, job)
    return lightgbm.Dataset(
        matrix(features), label, feature_name=list(features.column_names), params=params
    )


def matrix(table: pa.Table) -> np.ndarray[Any, np.dtype[Any]]:
    """Rows of numbers, with NaN for what is missing; float32 if that holds every column exactly."""
    small = all(
        pa.types.is_float32(kind) or (pa.types.is_integer(kind) and kind.bit_width <= 16)
        for kind in table.schema.types
    )
    kind = pa.float32() if small else pa.float64()
    rows = np.empty((table.num_rows, table.num_columns), kind.to_pandas_dtype())
    for index, column in enumerate(table.columns):
        # Not safe: an integer beyond 2**53 is rounded, as LightGBM would do.
        rows[:, index] = column.cast(kind, safe=False).to_numpy()
    return rows
