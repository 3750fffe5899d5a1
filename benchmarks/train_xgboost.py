"""What does training XGBoost on two ranks cost, against `xgboost.train(nthread=2)` in one process?

    python -m benchmarks.train_xgboost [--rows 1000000] [--rounds 3]

Both learn from the same rows (six numeric columns, hist, depth 6, 20 boosting rounds) and evaluate the
training loss each round. Ours is the whole of `fit()`: starting two processes, joining them, building the
matrices, and a report a round. The baseline is building its matrix from a ready array, and training. They
take turns, so that both meet the same machine. Also: a fit whose loop does nothing, and one `report`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

os.environ.setdefault("HELIOSTAT_PROGRESS", "0")

import numpy as np
import pyarrow as pa
import xgboost

import heliostat as ray
from benchmarks.ratios import Row, show
from heliostat.train import DataParallelTrainer, RunConfig, ScalingConfig, report
from heliostat.train.xgboost import XGBoostTrainer

LABEL = "is_big_tip"
PARAMS = {"objective": "binary:logistic", "tree_method": "hist", "max_depth": 6, "eta": 0.3}
TREES, WORKERS, REPORTS, BLOCKS = 20, 2, 200, 8


def taxi(rows: int) -> pa.Table:
    """Trips like New York's, with a label that is barely learnable."""
    rng = np.random.default_rng(1234)
    distance = np.round(rng.gamma(2.0, 1.6, rows), 2)
    duration = (distance * 240 + rng.integers(60, 900, rows)).astype(np.int64)
    hour = rng.integers(0, 24, rows)
    return pa.table({
        "passenger_count": rng.integers(1, 7, rows).astype(float),
        "trip_distance": distance,
        "fare_amount": np.round(2.5 + 2.2 * distance + duration / 120, 2),
        "trip_duration": duration.astype(float),
        "hour": hour.astype(float),
        "day_of_week": rng.integers(0, 7, rows).astype(float),
        LABEL: (rng.random(rows) + 0.15 * (hour > 17) + 0.02 * distance) > 0.75,
    })  # fmt: skip


def plain(features: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Seconds, and the last loss."""
    began, seen = time.perf_counter(), {}
    matrix = xgboost.DMatrix(features, label, nthread=WORKERS)
    xgboost.train(
        {**PARAMS, "nthread": WORKERS}, matrix, TREES, evals=[(matrix, "train")],
        evals_result=seen, verbose_eval=False,
    )  # fmt: skip
    return time.perf_counter() - began, seen["train"]["logloss"][-1]


def fit(dataset: ray.data.Dataset, path: str) -> tuple[float, float]:
    """Seconds, and the last loss."""
    began = time.perf_counter()
    result = XGBoostTrainer(
        label_column=LABEL, params=PARAMS, num_boost_round=TREES, datasets={"train": dataset},
        scaling_config=ScalingConfig(num_workers=WORKERS), run_config=RunConfig(storage_path=path),
    ).fit()  # fmt: skip
    return time.perf_counter() - began, result.metrics["train-logloss"]


def empty_fit(path: str) -> float:
    began = time.perf_counter()
    _trainer(lambda: None, path).fit()
    return time.perf_counter() - began


def one_report(path: str) -> float:
    def loop() -> float:
        began = time.perf_counter()
        for n in range(REPORTS):
            report({"n": n})
        return (time.perf_counter() - began) / REPORTS

    return float(_trainer(loop, path).fit().return_value)


def _trainer(loop: object, path: str) -> DataParallelTrainer:
    return DataParallelTrainer(
        loop,
        scaling_config=ScalingConfig(num_workers=WORKERS),
        run_config=RunConfig(storage_path=path),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    table = taxi(asked.rows)
    features = np.stack([table[c].to_numpy() for c in table.column_names if c != LABEL], 1)
    label = np.asarray(table[LABEL]).astype("float32")
    features = features.astype("float32")
    step = -(-asked.rows // BLOCKS)
    ray.init(num_cpus=WORKERS)
    blocks = [table.slice(at, step) for at in range(0, asked.rows, step)]
    dataset = ray.data.from_arrow(blocks).materialize()
    with tempfile.TemporaryDirectory() as path:
        pairs = [(fit(dataset, path), plain(features, label)) for _ in range(asked.rounds)]
        empty = tuple(1000 * empty_fit(path) for _ in range(asked.rounds))
        reports = tuple(1000 * one_report(path) for _ in range(asked.rounds))
    ray.shutdown()
    ours, theirs = ([one[i][0] for one in pairs] for i in (0, 1))
    show(
        [
            Row(f"{asked.rows:,} rows, 2 ranks", "s", "less", tuple(ours), tuple(theirs), 1 / 1.15),
            Row("a fit that does nothing", "ms", "less", empty),
            Row("a report of 2 ranks", "ms", "less", reports),
        ],
        "plain xgboost",
    )
    print(f"\nlast train-logloss: {pairs[0][0][1]:.6f} against {pairs[0][1][1]:.6f}")


if __name__ == "__main__":
    main()
