"""How much do we add to DuckDB? The 22 questions of TPC-H through `sql`, eight also in verbs.

    python -m benchmarks.data_tpch [scale factor] [repeats] [folder]

The baseline is DuckDB on the same Parquet files, in turns with ours; the answers are compared. A
ratio below 1 / 1.3 is more than we promise. Needs tpchgen-cli.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import duckdb
import pyarrow as pa

import heliostat as ray
from benchmarks.ratios import Row, show
from benchmarks.tpch import TABLES, make
from benchmarks.tpch.answers import differences
from benchmarks.tpch.queries import QUERIES
from benchmarks.tpch.verbs import VERBS


def in_turns(
    jobs: dict[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """The best time of each job, each a round after the other, and the last results."""
    best: dict[str, float] = {}
    made = {}
    for _ in range(repeats):
        for name, job in jobs.items():
            started = time.perf_counter()
            made[name] = job()
            taken = time.perf_counter() - started
            best[name] = min(taken, best.get(name, taken))
    return best, made


def main(scale: float = 1, repeats: int = 3, folder: str | None = None) -> int:
    os.environ["HELIOSTAT_PROGRESS"] = "0"
    rows = []
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        files = make(folder or scratch, scale)
        plain = duckdb.connect()
        for name in TABLES:
            plain.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{files[name]}')")
        for number, query in QUERIES.items():

            def by_duckdb(query: str = query) -> pa.Table:
                return plain.sql(query).to_arrow_table()

            def by_sql(query: str = query) -> pa.Table:
                tables = {name: ray.data.read_parquet(file) for name, file in files.items()}
                return ray.data.sql(query, **tables).to_arrow()

            def by_verbs(number: int = number) -> pa.Table:
                tables = {name: ray.data.read_parquet(file) for name, file in files.items()}
                return VERBS[number](tables).to_arrow()

            jobs = {"duckdb": by_duckdb, "sql": by_sql}
            if number in VERBS:
                jobs["verbs"] = by_verbs
            times, made = in_turns(jobs, repeats)
            for way in ("sql", "verbs") if number in VERBS else ("sql",):
                name = f"Q{number}" + ("" if way == "sql" else " in verbs")
                row = Row(
                    name, "s", "less", (times[way],), (times["duckdb"],), goal=round(1 / 1.3, 2)
                )
                rows.append(row)
                for line in differences(made[way], made["duckdb"]):
                    wrong += 1
                    print(f"{name}: {line}")
    through_sql = [row for row in rows if "verbs" not in row.name]
    ours, theirs = sum(r.ours[0] for r in through_sql), sum(r.baseline[0] for r in through_sql)
    rows.append(Row("all 22 through sql", "s", "less", (ours,), (theirs,), goal=0.77))
    show(rows, "duckdb")
    return wrong


if __name__ == "__main__":
    sys.exit(main(*(kind(one) for kind, one in zip((float, int, str), sys.argv[1:], strict=False))))
