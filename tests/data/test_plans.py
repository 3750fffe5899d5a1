"""Random plans of all kinds of steps: what is optimised gives the rows that it gives unoptimised."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data import _execute
from heliostat.data.aggregate import Count, Sum
from heliostat.data.expressions import col, lit

pytestmark = pytest.mark.usefixtures("inline")

STEPS = {
    "limit": lambda ds: ds.limit(7),
    "filter": lambda ds: ds.filter(expr=col("a") > 3),
    "filter or null": lambda ds: ds.filter(expr=(col("b") < 0.5) | col("b").is_null()),
    "filter by arrow": lambda ds: ds.filter(expr=col("s").str.contains("1")),
    "compute": lambda ds: ds.with_column("c", col("a") * 2 + 1),
    "replace": lambda ds: ds.with_columns({"a": col("a") + 1, "b": col("b") * 2.0}),
    "select": lambda ds: ds.select_columns(["s", "a", "b"]),
    "rename": lambda ds: ds.rename_columns({"a": "b", "b": "a"}),
    "sort": lambda ds: ds.sort("b", descending=True),
    "shuffle": lambda ds: ds.random_shuffle(seed=1),
    "sample": lambda ds: ds.random_sample(0.7, seed=2),
    "distinct": lambda ds: ds.distinct("s"),
    "groups": lambda ds: ds.groupby("s").aggregate(Count(alias_name="a"), Sum("b", alias_name="b")),
    "sql": lambda ds: ds.sql("SELECT s, a, b FROM ds WHERE s <> 'x'"),
    "repartition": lambda ds: ds.repartition(3),
    "union": lambda ds: ds.union(ds),
    "map": lambda ds: ds.map(lambda row: {"a": row["a"], "b": row["b"], "s": row["s"]}),
    "batches": lambda ds: ds.map_batches(lambda t: t, batch_format="pyarrow", batch_size=4),
    "literal": lambda ds: ds.with_column("s", lit("x1")),
    "window": lambda ds: ds.window({"n": "row_number()"}, order_by="a"),
}

TABLE = pa.table(
    {
        "a": pa.array([i % 11 for i in range(40)], pa.int64()),
        "b": [None if i % 5 == 0 else float("nan") if i % 7 == 0 else i / 40 for i in range(40)],
        "s": [f"{i % 13}" for i in range(40)],
    }
)


def rows(ds):
    # The last digits of a sum of floats depend on the order in which threads add.
    plain = [
        {name: round(one, 9) if isinstance(one, float) else one for name, one in row.items()}
        for row in ds.take_all()
    ]
    return list(map(str, plain))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(list(STEPS)), max_size=5), st.booleans())
def test_an_optimised_plan_gives_the_rows_of_the_plan_itself(tmp_path_factory, names, from_files):
    ds = ray.data.from_arrow([TABLE.slice(0, 15), TABLE.slice(15)])
    if from_files:
        folder = tmp_path_factory.mktemp("plans")
        ds.write_parquet(folder)
        ds = ray.data.read_parquet(folder)
    for name in names:
        ds = STEPS[name](ds)
    best = rows(ds)
    assert ds.count() == len(best)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_execute, "optimize", lambda plan: plan)
        patch.setattr(_execute, "compile_stages", compile_apart)
        assert rows(ds) == best


compile_stages = _execute.compile_stages


def compile_apart(plan, size):
    return compile_stages(plan, size, fuse=False)
