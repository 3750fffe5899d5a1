"""What lesson 1 asks of Data, as ratios to plain pyarrow and pandas doing the same in the same run.

    python benchmarks/data_lesson1.py [trips.parquet] [repeats]

Without a file it makes one like it. Each line: our time, theirs, the ratio; the best of the
repeats. The functions run in two workers here and in this process there, so the ratio of a cheap
function is the price of the way there and back.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import heliostat as ray

ROWS = 346_157
FEATURES = ["passenger_count", "trip_distance", "fare_amount", "trip_duration", "hour"]


class Predictor:
    """A model of one multiplication."""

    def __init__(self) -> None:
        self.weights = np.linspace(0.1, 1.0, len(FEATURES))

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        features = np.stack([batch[name] for name in FEATURES], axis=1)
        return {"probability": 1 / (1 + np.exp(-features @ self.weights))}


def make(path: str) -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.random(ROWS).round(2) for name in FEATURES}
    pq.write_table(pa.table({**columns, "is_big_tip": rng.random(ROWS) > 0.5}), path)


def plus_one(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"fare": batch["fare_amount"] + 1}


def cases(path: str) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Name -> ours, theirs."""
    ds = ray.data.read_parquet(path)
    table = pq.read_table(path)
    kept = ds.materialize()
    inputs = kept.drop_columns(["is_big_tip"])

    def split() -> object:
        read = pq.read_table(path)
        cut = int(len(read) * 0.7)
        return read.slice(0, cut), read.slice(cut)

    def predict() -> object:
        return Predictor()({name: table[name].to_numpy() for name in FEATURES})

    def loop() -> int:
        rows = 0
        for batch in table.to_batches(max_chunksize=1024):
            arrays = {
                name: batch[name].to_numpy(zero_copy_only=False) for name in batch.column_names
            }
            rows += len(arrays["hour"])
        return rows

    return {
        "count": (lambda: ray.data.read_parquet(path).count(), lambda: pq.read_metadata(path)),
        "read and split": (lambda: ray.data.read_parquet(path).train_test_split(0.3), split),
        "to_pandas": (ds.to_pandas, lambda: pq.read_table(path).to_pandas()),
        "two columns": (
            lambda: ds.select_columns(FEATURES[:2]).materialize(),
            lambda: pq.read_table(path, columns=FEATURES[:2]),
        ),
        "shuffle": (
            lambda: kept.random_shuffle(seed=1).materialize(),
            lambda: table.take(pa.array(np.random.default_rng(1).permutation(len(table)))),
        ),
        "batches of 1024": (
            lambda: sum(len(b["hour"]) for b in kept.iter_batches(batch_size=1024)),
            loop,
        ),
        "map_batches, function": (
            lambda: kept.map_batches(plus_one).materialize(),
            lambda: pc.add(table["fare_amount"], 1),
        ),
        "map_batches, pool of 2": (
            lambda: inputs.map_batches(Predictor, concurrency=2).materialize(),
            predict,
        ),
        "take_batch of a pool": (
            lambda: inputs.map_batches(Predictor, concurrency=2).take_batch(),
            predict,
        ),
    }


def best(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    os.environ.setdefault("HELIOSTAT_PROGRESS", "0")
    repeats = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as directory:
        path = sys.argv[1] if len(sys.argv) > 1 else str(Path(directory, "trips.parquet"))
        if len(sys.argv) < 2:
            make(path)
        ray.init(num_cpus=2)
        start = time.perf_counter()
        ray.data.range(10).map(lambda row: row).take_all()
        print(
            f"first function in a worker, session begun before: {time.perf_counter() - start:.3f} s"
        )
        print(f"{'':24}{'ours, ms':>10}{'plain, ms':>11}{'ratio':>8}")
        for name, (ours, theirs) in cases(path).items():
            mine, plain = best(ours, repeats), best(theirs, repeats)
            print(f"{name:24}{mine * 1e3:10.2f}{plain * 1e3:11.2f}{mine / plain:8.2f}")
        ray.shutdown()


if __name__ == "__main__":
    main()
