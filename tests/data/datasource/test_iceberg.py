"""Iceberg tables, in a catalog in SQLite."""

import subprocess
import sys

import pytest

pytest.importorskip("pyiceberg")
pytest.importorskip("sqlalchemy")

# In a process of its own: pyiceberg keeps threads and connections for as long as it lives.
BOTH_WAYS = """
import os, sys
import pyarrow as pa
import heliostat as ray
from heliostat.data.expressions import col
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import GreaterThan

folder = sys.argv[1]
catalog = {"name": "here", "type": "sql", "uri": f"sqlite:///{folder}/c.db", "warehouse": folder}
pyiceberg = load_catalog(**catalog)
pyiceberg.create_namespace("db")
pyiceberg.create_table("db.t", pa.schema([("id", pa.int64()), ("n", pa.string())]))
ray.init(engine="inline")
at = {"table_identifier": "db.t", "catalog_kwargs": catalog}


def read(**more):
    return ray.data.read_iceberg(**at, **more)


def ids(ds):
    return sorted(row["id"] for row in ds.iter_rows())


print(read().count(), read().columns())
ds = ray.data.range(100, override_num_blocks=5).map(lambda r: {"id": r["id"], "n": str(r["id"])})
ds.write_iceberg(**at, snapshot_properties={"by": "test"})
first = pyiceberg.load_table("db.t").current_snapshot()
print(read().count(), sum(ids(read())), first.summary["by"])
print(read(selected_fields=("n",)).columns(), read().select_columns(["id"]).take(1))
print(ids(read(row_filter=col("id") > 97)), ids(read(row_filter=GreaterThan("id", 98))))
ds.limit(2).map(lambda r: {"id": r["id"] + 100, "n": "x", "extra": 1.5}).write_iceberg(**at)
print(read().columns(), ids(read())[-2:], read(snapshot_id=first.snapshot_id).count())
late = (col("id") >= 50) & ~col("n").is_null() | col("id").is_in([1, 2])
ds.limit(1).write_iceberg(**at, mode="overwrite", overwrite_filter=late)
print(ids(read()) == sorted([0, 0, *range(3, 50)]))
ds.limit(3).write_iceberg(**at, mode="overwrite")
changed = ds.limit(5).filter(lambda r: r["id"] > 1).map(lambda r: {"id": r["id"], "n": "new"})
changed.write_iceberg(**at, mode="upsert", upsert_kwargs={"join_cols": ["id"]})
print([(r["id"], r["n"]) for r in read().sort("id").iter_rows()])


def refused(call):
    try:
        call()
    except Exception as error:
        print(type(error).__name__.removeprefix("RayTaskError"), str(error)[:42])


before = len(list(pyiceberg.load_table("db.t").snapshots()))
refused(lambda: ds.map(lambda r: 1 // 0).write_iceberg(**at))
halves = ray.data.range(10, override_num_blocks=10)
refused(lambda: halves.map(lambda r: {"id": r["id"] // (r["id"] < 9)}).write_iceberg(**at))
print(len(list(pyiceberg.load_table("db.t").snapshots())) - before, read().count())
refused(lambda: ray.data.read_iceberg(table_identifier="db.zz", catalog_kwargs=catalog))
refused(lambda: read(selected_fields=("zz",)))
refused(lambda: read(catalog=1))
refused(lambda: ds.write_iceberg(**at, catalog=1))
refused(lambda: ds.write_iceberg(**at, mode="error"))
refused(lambda: ds.write_iceberg(**at, upsert_kwargs={"join_cols": ["id"]}))
refused(lambda: ds.write_iceberg(**at, overwrite_filter=col("id") > 1))
wide = ds.limit(1).map(lambda r: {**r, "new": 1})
refused(lambda: wide.write_iceberg(**at, mode="upsert", upsert_kwargs={"join_cols": ["id"]}))
refused(lambda: ds.write_iceberg(**at, mode="overwrite", overwrite_filter=col("id") + 1))
os._exit(0)
"""


def test_rows_go_both_ways_and_a_failed_write_leaves_the_table(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BOTH_WAYS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "0 ['id', 'n']",
        "100 4950 test",
        "['n'] [{'id': 0}]",
        "[98, 99] [99]",
        "['id', 'n', 'extra'] [100, 101] 100",
        "True",
        "[(0, '0'), (1, '1'), (2, 'new'), (3, 'new'), (4, 'new')]",
        "(ZeroDivisionError) ZeroDivisionError in Map(<lambda>) -> Map(",
        "(ZeroDivisionError) ZeroDivisionError in Map(<lambda>)() (pid=",
        "0 5",
        "FileNotFoundError no Iceberg table 'db.zz' in the catalog 'h",
        "KeyError \"select_columns: no column named 'zz'; the",
        "TypeError read_iceberg(catalog=...) takes a heliosta",
        "TypeError write_iceberg(catalog=...) takes a heliost",
        "ValueError write_iceberg(mode='error'): use append, o",
        "ValueError upsert_kwargs are for mode='upsert', not '",
        "ValueError overwrite_filter and overwrite_kwargs are ",
        "ValueError mode='upsert' cannot add columns to a tabl",
        "NotImplementedError (col('id') + 1) cannot be said to Iceberg:",
    ]


def test_comparisons_are_said_to_iceberg():
    from pyiceberg import expressions as made

    from heliostat.data.datasource.iceberg import iceberg_filter
    from heliostat.data.expressions import col, lit

    a = col("a")
    pairs = [
        (a == 1, made.EqualTo("a", 1)),
        (a != 1, made.NotEqualTo("a", 1)),
        (a <= 1, made.LessThanOrEqual("a", 1)),
        (lit(1) < a, made.GreaterThan("a", 1)),
        (lit(1) == a, made.EqualTo("a", 1)),
        (a.is_not_null(), made.NotNull("a")),
        ((a < 1).alias("x"), made.LessThan("a", 1)),
        ((a < 1) | a.is_null(), made.Or(made.LessThan("a", 1), made.IsNull("a"))),
        (
            ~(a < 1) & a.is_in([1, 2]),
            made.And(made.Not(made.LessThan("a", 1)), made.In("a", (1, 2))),
        ),
    ]
    for ours, theirs in pairs:
        assert iceberg_filter(ours) == theirs
