"""Which engine should run relational work? The same jobs on DuckDB, Polars and pyarrow, and on ours.

    python benchmarks/data_native.py [million rows] [repeats]

The baseline is DuckDB alone, which we run on; Polars is measured if it is installed. Best of the
repeats; a ratio below 1 / 1.3 against the better of DuckDB and Polars is more than we promise.
"""

import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import heliostat as ray
from benchmarks.ratios import Row, show
from heliostat.data.expressions import col

Jobs = dict[str, Callable[[], Any]]


def make(folder: str, rows: int) -> None:
    os.mkdir(f"{folder}/keys")
    rng = np.random.default_rng(0)
    for part in range(10):
        size = rows // 10
        table = pa.table(
            {
                "key": rng.integers(0, 100_000, size),
                "zone": np.array([f"zone {n}" for n in range(8)])[rng.integers(0, 8, size)],
                "fare": rng.gamma(2, 10, size).round(2),
                "distance": rng.gamma(2, 2, size).round(2),
            }
        )
        pq.write_table(table, f"{folder}/{part:02}.parquet")
    keys = np.arange(100_000)
    for part in range(4):
        table = pa.table({"key": keys[part::4], "weight": keys[part::4] * 3})
        pq.write_table(table, f"{folder}/keys/{part}.parquet")


def ours(folder: str) -> Jobs:
    def read() -> Any:
        return ray.data.read_parquet(f"{folder}/*.parquet")

    def joined() -> Any:
        return read().join(ray.data.read_parquet(f"{folder}/keys"), "inner", 4, on=("key",))

    return {
        "sum of a column": lambda: read().sum("fare"),
        "filter and count": lambda: read().filter(expr=col("fare") > 20).count(),
        "two filters and count": lambda: (
            read().filter(expr=(col("fare") > 20) & (col("distance") < 3)).count()
        ),
        "mean by 8 keys": lambda: read().groupby("zone").mean("fare").materialize(),
        "sum by 100,000 keys": lambda: read().groupby("key").sum("fare").materialize(),
        "sum over a join": lambda: joined().sum("weight"),
        "sort": lambda: read().sort("distance").materialize(),
        "shuffle": lambda: read().random_shuffle(seed=0).materialize(),
    }


def by_duckdb(folder: str) -> Jobs:
    def run(sql: str) -> Any:
        return duckdb.sql(sql.replace("T", f"read_parquet('{folder}/*.parquet')")).to_arrow_table()

    return {
        "sum of a column": lambda: run("select sum(fare) from T"),
        "filter and count": lambda: run("select count(*) from T where fare > 20"),
        "two filters and count": lambda: run(
            "select count(*) from T where fare > 20 and distance < 3"
        ),
        "mean by 8 keys": lambda: run("select zone, avg(fare) from T group by 1"),
        "sum by 100,000 keys": lambda: run("select key, sum(fare) from T group by 1"),
        "sum over a join": lambda: run(
            f"select sum(weight) from T join read_parquet('{folder}/keys/*.parquet') using (key)"
        ),
        "sort": lambda: run("select * from T order by distance"),
        "shuffle": lambda: run("select * from T order by random()"),
    }


def by_polars(folder: str) -> Jobs:
    pl: Any = importlib.import_module("polars")

    def scan() -> Any:
        return pl.scan_parquet(f"{folder}/*.parquet")

    return {
        "sum of a column": lambda: scan().select(pl.col("fare").sum()).collect(),
        "filter and count": lambda: scan().filter(pl.col("fare") > 20).select(pl.len()).collect(),
        "two filters and count": lambda: (
            scan()
            .filter((pl.col("fare") > 20) & (pl.col("distance") < 3))
            .select(pl.len())
            .collect()
        ),
        "mean by 8 keys": lambda: scan().group_by("zone").agg(pl.col("fare").mean()).collect(),
        "sum by 100,000 keys": lambda: scan().group_by("key").agg(pl.col("fare").sum()).collect(),
        "sum over a join": lambda: (
            scan()
            .join(pl.scan_parquet(f"{folder}/keys/*.parquet"), on="key")
            .select(pl.col("weight").sum())
            .collect()
        ),
        "sort": lambda: scan().sort("distance").collect(),
        "shuffle": lambda: scan().collect().sample(fraction=1.0, shuffle=True, seed=0),
    }


def by_arrow(folder: str) -> Jobs:
    def read(*columns: str) -> pa.Table:
        files = sorted(str(path) for path in Path(folder).glob("*.parquet"))
        return pq.read_table(files, columns=list(columns) or None)

    return {
        "sum of a column": lambda: pc.sum(read("fare")["fare"]),
        "filter and count": lambda: read("fare").filter(pc.field("fare") > 20).num_rows,
        "two filters and count": lambda: (
            read("fare", "distance")
            .filter((pc.field("fare") > 20) & (pc.field("distance") < 3))
            .num_rows
        ),
        "mean by 8 keys": lambda: (
            read("zone", "fare").group_by("zone").aggregate([("fare", "mean")])
        ),
        "sum by 100,000 keys": lambda: (
            read("key", "fare").group_by("key").aggregate([("fare", "sum")])
        ),
        "sum over a join": lambda: pc.sum(
            read("key").join(pq.read_table(f"{folder}/keys"), "key", join_type="inner")["weight"]
        ),
        "sort": lambda: read().sort_by("distance"),
    }


def measure(jobs: Jobs, repeats: int) -> dict[str, float]:
    best: dict[str, float] = {}
    for name, job in jobs.items():
        for _ in range(repeats):
            started = time.perf_counter()
            job()
            taken = time.perf_counter() - started
            best[name] = min(taken, best.get(name, taken))
    return best


def main(millions: float = 5, repeats: int = 3) -> None:
    os.environ["HELIOSTAT_PROGRESS"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        make(folder, int(millions * 1_000_000))
        baseline = measure(by_duckdb(folder), repeats)
        sides = {"heliostat": ours(folder), "pyarrow": by_arrow(folder)}
        if importlib.util.find_spec("polars"):
            sides["polars"] = by_polars(folder)
        for side, jobs in sides.items():
            times = measure(jobs, repeats)
            rows = [Row(name, "s", "less", (t,), (baseline[name],)) for name, t in times.items()]
            print(f"\n{side} (in the column called heliostat) beside DuckDB")
            show(rows, "duckdb")
        ray.shutdown()


if __name__ == "__main__":
    main(*(float(sys.argv[1]),) if len(sys.argv) > 1 else ())
