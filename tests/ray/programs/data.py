"""Programs of Data: where rows come from, verbs, aggregates, expressions, shapes, errors, files."""

import decimal
import glob
import importlib
import os
import sqlite3
import tempfile

import numpy as np
import pandas as pd
import pyarrow as pa
from outcomes import library, main, program, refused, told


def rows(ds):
    return told(ds.take_all())


def types(ds):
    schema = ds.schema()
    return [schema.names, [str(kind) for kind in schema.types]]


# Where rows come from


@program
def a_range(ray):
    ds = ray.data.range(3)
    return [rows(ds), types(ds), ds.count(), ds.columns(), type(ds.take(1)[0]["id"]).__name__]


@program
def a_range_of_tensors(ray):
    ds = ray.data.range_tensor(3, shape=(2, 2))
    batch = ds.take_batch(3)
    return [told(batch), ds.schema().names, told(ds.take(1))]


@program
def items_that_are_no_rows(ray):
    items = ray.data.from_items([1, 2, 3])
    return [rows(items), types(items), rows(ray.data.from_items(["a", None]))]


@program
def items_with_holes(ray):
    ds = ray.data.from_items([{"a": 1, "b": "x"}, {"a": None, "b": "y"}, {"a": 3, "b": None}])
    return [rows(ds), types(ds)]


@program
def no_items(ray):
    ds = ray.data.from_items([])
    return [rows(ds), ds.count(), repr(ds.schema())]


@program
def tables_of_other_libraries(ray):
    frame = pd.DataFrame({"i": [1, 2], "f": [0.5, float("nan")], "s": ["x", None]})
    table = pa.table({"i": pa.array([1, 2], pa.int32()), "d": [[1], []]})
    return [
        rows(ray.data.from_pandas(frame)),
        types(ray.data.from_arrow(table)),
        rows(ray.data.from_arrow([table, table])),
        rows(ray.data.from_numpy(np.arange(4).reshape(2, 2))),
        types(ray.data.from_numpy(np.arange(3, dtype="float32"))),
    ]


@program
def what_sources_refuse(ray):
    return [
        refused(lambda: ray.data.from_items(5)),
        refused(lambda: ray.data.range("3")),
        refused(lambda: ray.data.from_pandas("x").take_all()),
        refused(lambda: ray.data.read_parquet("/not/there").take_all(), "/not/there"),
        refused(lambda: ray.data.read_csv([]).take_all()),
    ]


@program
def types_of_values(ray):
    row = {
        "none": None,
        "yes": True,
        "bytes": b"ab",
        "when": pd.Timestamp("2024-01-02 03:04:05").to_pydatetime(),
        "exact": decimal.Decimal("1.50"),
        "many": [1, 2],
        "inner": {"a": 1, "b": "x"},
        "array": np.array([1.5, 2.5]),
    }
    ds = ray.data.from_items([row])
    return [rows(ds), dict(zip(*types(ds), strict=True))]


@program
def ragged_arrays(ray):
    ds = ray.data.from_items([{"a": np.zeros(n)} for n in (1, 2)])
    return [rows(ds), told(ds.take_batch(2))]


@program
def a_schema_s_text(ray):
    ds = ray.data.from_items([{"number": 1, "text": "x"}])
    return [str(ds.schema()), ds.schema() == ds.map(lambda row: row).materialize().schema()]


# Steps over rows


@program
def map_of_rows(ray):
    ds = ray.data.range(3).map(lambda row: {"double": row["id"] * 2, "half": row["id"] / 2})
    return [rows(ds), types(ds)]


@program
def map_with_arguments(ray):
    ds = ray.data.range(2).map(
        lambda row, a, b: {"x": row["id"] + a + b}, fn_args=(10,), fn_kwargs={"b": 100}
    )
    return rows(ds)


@program
def map_that_gives_no_row(ray):
    ds = ray.data.range(1)
    return [
        refused(lambda: ds.map(lambda row: 5).take_all()),
        refused(lambda: ds.map(lambda row: None).take_all()),
        refused(lambda: ds.map("no function").take_all()),
    ]


@program
def an_error_of_a_function(ray):
    def broken(row):
        raise ValueError("bad row")

    return refused(lambda: ray.data.range(1).map(broken).take_all(), "bad row")


@program
def flat_map_of_rows(ray):
    ds = ray.data.range(3).flat_map(lambda row: [row] * row["id"])
    return [
        rows(ds),
        refused(lambda: ray.data.range(1).flat_map(lambda row: 5).take_all()),
        rows(ray.data.range(2).flat_map(lambda row: [])),
    ]


@program
def filter_by_function_or_expression(ray):
    expressions = library(ray, "data.expressions")
    ds = ray.data.range(5)
    return [
        rows(ds.filter(lambda row: row["id"] > 3)),
        rows(ds.filter(expr=expressions.col("id") >= 3)),
        rows(ds.filter(expr="id < 2")),
        refused(lambda: ds.filter().take_all()),
        refused(lambda: ds.filter(lambda row: True, expr="id < 2").take_all()),
    ]


@program
def classes_of_functions(ray):
    class Add:
        def __init__(self, by, more=0):
            self.by = by + more

        def __call__(self, row):
            return {"x": row["id"] + self.by}

    ds = ray.data.range(3)
    added = ds.map(Add, fn_constructor_args=(1,), fn_constructor_kwargs={"more": 10}, concurrency=1)
    return [
        sorted(row["x"] for row in added.take_all()),
        refused(lambda: ds.map(lambda row: row, fn_constructor_args=(1,)).take_all()),
        refused(lambda: ds.map(Add, concurrency=0)),
        refused(lambda: ds.map(Add, concurrency=(2, 1))),
    ]


@program
def functions_that_wait(ray):
    class Later:
        async def __call__(self, row):
            return {"x": row["id"]}

    ds = ray.data.range(3).map(Later, concurrency=1)
    return sorted(row["x"] for row in ds.take_all())


# Steps over batches


@program
def formats_of_batches(ray):
    def look(batch):
        kind = type(batch).__name__
        inner = type(batch["id"]).__name__ if kind != "Table" else "column"
        return {"kind": [kind], "inner": [inner]}

    ds = ray.data.range(2, override_num_blocks=1)
    formats = ["default", "numpy", "pandas", "pyarrow"]
    return [
        *(rows(ds.map_batches(look, batch_format=f)) for f in formats),
        refused(lambda: ds.map_batches(look, batch_format="polar").take_all()),
    ]


@program
def sizes_of_batches(ray):
    def size(batch):
        return {"n": [len(batch["id"])]}

    ds = ray.data.range(10, override_num_blocks=1)
    return [
        rows(ds.map_batches(size, batch_size=3)),
        rows(ds.map_batches(size, batch_size=None)),
        rows(ds.map_batches(size)),
        refused(lambda: ds.map_batches(size, batch_size=0).take_all()),
        refused(lambda: ds.map_batches(size, batch_size=-1).take_all()),
    ]


@program
def what_batches_may_become(ray):
    ds = ray.data.range(2, override_num_blocks=1)
    answers = [
        lambda b: {"x": b["id"] + 1},
        lambda b: pd.DataFrame({"x": b["id"]}),
        lambda b: pa.table({"x": b["id"]}),
        lambda b: {"x": [1, 2, 3]},
        lambda b: {"x": np.zeros((2, 2))},
        lambda b: {"x": ["a", None]},
        lambda b: {},
        lambda b: {"x": []},
    ]
    bad = [
        lambda b: 5,
        lambda b: None,
        lambda b: {"x": 5},
        lambda b: {"x": np.zeros(2), "y": np.zeros(3)},
        lambda b: [1, 2],
    ]
    return [
        *(rows(ds.map_batches(answer)) for answer in answers),
        *(refused(lambda a=answer: ds.map_batches(a).take_all()) for answer in bad),
    ]


@program
def a_batch_may_become_many(ray):
    def each(batch):
        for value in batch["id"]:
            yield {"x": np.array([value, -value])}

    return rows(ray.data.range(3, override_num_blocks=1).map_batches(each))


# Columns


@program
def columns_chosen(ray):
    ds = ray.data.from_items([{"a": 1, "b": 2, "c": 3}])
    return [
        rows(ds.select_columns(["b", "a"])),
        rows(ds.select_columns("c")),
        rows(ds.drop_columns(["b"])),
        rows(ds.rename_columns({"a": "z"})),
        rows(ds.rename_columns(["x", "y", "z"])),
        rows(ds.add_column("d", lambda batch: batch["a"] + 10)),
        ds.select_columns(["b"]).columns(),
    ]


@program
def columns_that_are_not_there(ray):
    ds = ray.data.from_items([{"a": 1, "b": 2}])
    return [
        refused(lambda: ds.select_columns(["nothing"]).take_all()),
        refused(lambda: ds.drop_columns(["nothing"]).take_all()),
        refused(lambda: ds.rename_columns({"nothing": "z"}).take_all()),
        refused(lambda: ds.select_columns(["a", "a"]).take_all()),
        refused(lambda: ds.rename_columns({"a": "b"}).take_all()),
        refused(lambda: ds.rename_columns({}).take_all()),
        refused(lambda: ds.select_columns([1]).take_all()),
    ]


# Expressions


@program
def expressions_compute(ray):
    e = library(ray, "data.expressions")
    col, lit = e.col, e.lit
    ds = ray.data.from_items([{"a": 1, "b": 2.5}, {"a": -4, "b": 0.5}])
    made = {
        "sum": col("a") + col("b"),
        "less": col("a") - 1,
        "times": 2 * col("a"),
        "over": col("a") / 2,
        "floor": col("a") // 2,
        "both": (col("a") > 0) & (col("b") > 1),
        "either": (col("a") > 0) | (col("b") > 1),
        "not": ~(col("a") > 0),
        "same": col("a") == 1,
        "other": col("a") != 1,
        "word": lit("x"),
    }
    for name, expression in made.items():
        ds = ds.with_column(name, expression)
    return [rows(ds), types(ds)]


@program
def expressions_and_nulls(ray):
    col = library(ray, "data.expressions").col
    ds = ray.data.from_items([{"a": 1}, {"a": None}, {"a": 3}])
    return [
        rows(ds.with_column("x", col("a").is_null())),
        rows(ds.with_column("x", col("a").is_not_null())),
        rows(ds.with_column("x", col("a") + 1)),
        rows(ds.with_column("x", col("a") > 1)),
        rows(ds.filter(expr=col("a") > 1)),
        rows(ds.filter(expr=col("a").is_in([1, 3]))),
        rows(ds.filter(expr=col("a").not_in([1]))),
    ]


@program
def expressions_of_text_and_lists(ray):
    col = library(ray, "data.expressions").col
    ds = ray.data.from_items([{"s": " Ab ", "l": [3, 4], "d": {"k": 7}}])
    made = [
        col("s").str.upper(),
        col("s").str.strip(),
        col("s").str.len(),
        col("s").str.contains("b"),
        col("s").str.replace("A", "X"),
        col("l").list.len(),
        col("l").list.get(1),
        col("d").struct.field("k"),
    ]
    return [[row["x"] for row in ds.with_column("x", e).take_all()] for e in made]


@program
def expressions_refuse(ray):
    e = library(ray, "data.expressions")
    ds = ray.data.range(2)
    return [
        refused(lambda: ds.with_column("x", 5).take_all()),
        refused(lambda: ds.with_column("x", e.col("nothing") + 1).take_all()),
        refused(lambda: ds.filter(expr="id <").take_all()),
        refused(lambda: bool(e.col("id") == 1)),
        refused(lambda: e.col(5)),
    ]


@program
def expressions_of_functions_of_users(ray):
    e = library(ray, "data.expressions")
    kind = library(ray, "data.datatype").DataType

    @e.udf(return_dtype=kind.int64())
    def twice(values):
        return pa.compute.multiply(values, 2)

    ds = ray.data.range(3).with_column("x", twice(e.col("id")))
    return [rows(ds), (e.col("id") + 1).alias("y").name]


# Order, size, chance


@program
def sort_by_columns(ray):
    items = [{"a": a, "b": b} for a, b in [(2, "x"), (1, "y"), (2, "w"), (3, "z")]]
    ds = ray.data.from_items(items)
    return [
        rows(ds.sort("a")),
        rows(ds.sort("b", descending=True)),
        rows(ds.sort(["a", "b"])),
        rows(ds.sort(["a", "b"], descending=[True, False])),
    ]


@program
def sort_refuses(ray):
    ds = ray.data.range(3)
    return [
        refused(lambda: ds.sort("nothing").take_all()),
        refused(lambda: ds.sort(["id"], descending=[True, False]).take_all()),
        refused(lambda: ds.sort(lambda row: row["id"]).take_all()),
        refused(lambda: ds.sort([]).take_all()),
    ]


@program
def sort_of_nulls_and_text(ray):
    ds = ray.data.from_items([{"a": v} for v in (2, None, 1)])
    text = ray.data.from_items([{"a": v} for v in ("b", "a", "ä", "B")])
    return [rows(ds.sort("a")), rows(ds.sort("a", descending=True)), rows(text.sort("a"))]


@program
def parts_of_it(ray):
    ds = ray.data.range(6)
    return [
        rows(ds.limit(2)),
        rows(ds.limit(0)),
        ds.limit(100).count(),
        told(ds.take(2)),
        told(ds.take(0)),
        refused(lambda: ds.take_all(limit=3)),
        refused(lambda: ds.limit(-1).take_all()),
        refused(lambda: ds.take(-1)),
        told(ds.take_batch(2)),
        told(ds.take_batch(2, batch_format="pandas").to_dict("list")),
        refused(lambda: ds.limit(0).take_batch()),
    ]


@program
def repartition_into_blocks(ray):
    ds = ray.data.range(10, override_num_blocks=5)
    return [
        ds.repartition(2).materialize().num_blocks(),
        [row["id"] for row in ds.repartition(2).take_all()],
        ds.repartition(4, shuffle=True).materialize().num_blocks(),
        sorted(row["id"] for row in ds.repartition(3, shuffle=True).take_all()),
        refused(lambda: ds.repartition().take_all()),
        refused(lambda: ds.repartition(2, target_num_rows_per_block=3).take_all()),
        refused(lambda: ds.repartition(0).take_all()),
        ds.repartition(target_num_rows_per_block=5).count(),
    ]


@program
def chance(ray):
    ds = ray.data.range(30)
    once = [row["id"] for row in ds.random_shuffle(seed=1).take_all()]
    twice = [row["id"] for row in ds.random_shuffle(seed=1).take_all()]
    return [
        sorted(once) == list(range(30)),
        once == twice,
        once != list(range(30)),
        ds.random_sample(1.0).count(),
        ds.random_sample(0.0).count(),
        refused(lambda: ds.random_sample(1.5).count()),
        refused(lambda: ds.random_sample(-0.1).count()),
        ds.randomize_block_order(seed=1).count(),
    ]


# Several datasets


@program
def zip_of_datasets(ray):
    one = ray.data.from_items([{"a": 1}, {"a": 2}])
    two = ray.data.from_items([{"b": "x"}, {"b": "y"}])
    return [
        rows(one.zip(two)),
        rows(one.zip(one)),
        rows(one.zip(one, two)),
        refused(lambda: one.zip(ray.data.range(3)).take_all()),
    ]


@program
def joins_of_all_kinds(ray):
    left = ray.data.from_items([{"k": k, "l": k * 10} for k in (1, 2, 3)])
    right = ray.data.from_items([{"k": k, "r": str(k)} for k in (2, 3, 4)])
    found = []
    for kind in ("inner", "left_outer", "right_outer", "full_outer", "left_semi", "left_anti"):
        joined = left.join(right, kind, 2, on=("k",))
        found.append(sorted([sorted(row.items()) for row in told(joined.take_all())], key=repr))
    return found


@program
def joins_of_columns_of_one_name(ray):
    left = ray.data.from_items([{"k": 1, "v": 10}])
    right = ray.data.from_items([{"k": 1, "v": 20}])
    return [
        rows(left.join(right, "inner", 1, on=("k",), left_suffix="_l", right_suffix="_r")),
        rows(left.join(right, "inner", 1, on=("k",), right_suffix="_r")),
        refused(lambda: left.join(right, "inner", 1, on=("k",)).take_all()),
        refused(lambda: left.join(right, "sideways", 1, on=("k",)).take_all()),
        refused(lambda: left.join(right, "inner", 1, on=("nothing",)).take_all()),
    ]


# Aggregates


@program
def aggregates_of_columns(ray):
    ds = ray.data.from_items([{"a": a, "b": a / 4} for a in (1, 2, 4)])
    return [
        told([ds.sum("a"), ds.min("a"), ds.max("a"), ds.mean("a"), ds.std("a")]),
        told([ds.sum("b"), ds.std("b", ddof=0)]),
        told(ds.sum(["a", "b"])),
        told(ds.mean(["a", "b"])),
        told(ds.sum()),
        sorted(ds.unique("a")),
        [type(ds.sum("a")).__name__, type(ds.mean("a")).__name__],
    ]


@program
def aggregates_refuse(ray):
    ds = ray.data.from_items([{"a": 1, "s": "x"}])
    return [
        refused(lambda: ds.sum("nothing")),
        refused(lambda: ds.sum("s")),
        refused(lambda: ds.mean("s")),
        refused(lambda: ds.unique("nothing")),
        refused(lambda: ds.aggregate()),
    ]


@program
def aggregates_by_name(ray):
    agg = library(ray, "data.aggregate")
    ds = ray.data.from_items([{"a": a} for a in (-3, 0, 0, 1, None)])
    return [
        told(
            ds.aggregate(
                agg.Count(),
                agg.Count("a"),
                agg.Sum("a"),
                agg.Min("a"),
                agg.Max("a"),
                agg.Mean("a"),
                agg.Std("a"),
                agg.AbsMax("a"),
                agg.Sum("a", alias_name="total"),
            )
        ),
        told(ds.aggregate(agg.MissingValuePercentage("a"), agg.ZeroPercentage("a"))),
        told(ds.aggregate(agg.CountDistinct("a"), agg.Quantile("a", q=0.5))),
    ]


@program
def aggregates_of_groups(ray):
    items = [{"k": k, "v": v} for k, v in [("x", 1), ("y", 2), ("x", 3), ("y", 6)]]
    groups = ray.data.from_items(items).groupby("k")
    made = [groups.count(), groups.sum("v"), groups.mean("v"), groups.max("v"), groups.min("v")]
    return [*(rows(ds.sort("k")) for ds in made), told(groups.std("v").sort("k").take_all())]


@program
def aggregates_of_groups_of_several_columns(ray):
    agg = library(ray, "data.aggregate")
    items = [{"k": n % 2, "m": n % 3, "v": n} for n in range(8)]
    ds = ray.data.from_items(items)
    both = ds.groupby(["k", "m"]).aggregate(agg.Sum("v"), agg.Count(alias_name="n"))
    return [
        rows(both.sort(["k", "m"])),
        rows(ds.groupby(None).sum("v")),
        rows(ds.groupby("k").sum(["v", "m"]).sort("k")),
        refused(lambda: ds.groupby("nothing").sum("v").take_all()),
        refused(lambda: ds.groupby("k").sum("nothing").take_all()),
    ]


@program
def groups_as_functions_see_them(ray):
    items = [{"k": n % 2, "v": n} for n in range(5)]
    ds = ray.data.from_items(items).groupby("k")
    frames = ds.map_groups(lambda frame: frame.assign(n=len(frame)), batch_format="pandas")
    tops = ds.map_groups(lambda batch: {"k": batch["k"][:1], "most": [max(batch["v"])]})
    return [rows(frames.sort(["k", "v"])), rows(tops.sort("k"))]


@program
def groups_without_a_format(ray):
    groups = ray.data.from_items([{"k": 1, "v": 2}]).groupby("k")
    return rows(groups.map_groups(lambda group: {"kind": [type(group).__name__]}))


@program
def an_aggregate_of_one_s_own(ray):
    agg = library(ray, "data.aggregate")
    longest = agg.AggregateFn(
        init=lambda key: 0,
        accumulate_row=lambda most, row: max(most, len(row["s"])),
        merge=max,
        name="longest",
    )
    ds = ray.data.from_items([{"s": "a"}, {"s": "bcd"}, {"s": "ef"}])
    return told(ds.aggregate(longest))


# Iteration


@program
def batches_of_an_iteration(ray):
    ds = ray.data.range(7, override_num_blocks=2)
    sizes = [len(b["id"]) for b in ds.iter_batches(batch_size=3)]
    dropped = [len(b["id"]) for b in ds.iter_batches(batch_size=3, drop_last=True)]
    kinds = [
        type(next(iter(ds.iter_batches(batch_format=f)))).__name__
        for f in ("numpy", "pandas", "pyarrow")
    ]
    return [
        sizes,
        dropped,
        kinds,
        str(next(iter(ds.iter_batches()))["id"].dtype),
        [row["id"] for row in ds.iter_rows()],
        refused(lambda: list(ds.iter_batches(batch_size=0))),
        refused(lambda: list(ds.iter_batches(prefetch_batches=-1))),
        refused(lambda: list(ds.iter_batches(batch_format="polar"))),
    ]


@program
def batches_shuffled_on_their_way(ray):
    ds = ray.data.range(20, override_num_blocks=2)

    def once():
        batches = ds.iter_batches(batch_size=5, local_shuffle_buffer_size=10, local_shuffle_seed=3)
        return [list(map(int, b["id"])) for b in batches]

    first = once()
    return [
        [len(b) for b in first],
        sorted([n for b in first for n in b]) == list(range(20)),
        first == once(),
        [n for b in first for n in b] != list(range(20)),
    ]


@program
def what_a_dataset_is_not(ray):
    ds = ray.data.range(3)
    return [
        bool(ds),
        refused(lambda: len(ds)),
        refused(lambda: iter(ds)),
        refused(lambda: ds[0]),
        refused(lambda: ds.nothing),
    ]


@program
def an_iterator_s_epochs(ray):
    it = ray.data.range(4).iterator()
    return [
        [sorted(row["id"] for row in it.iter_rows()) for _ in range(2)],
        it.schema().names,
        it.materialize().count(),
    ]


@program
def splits(ray):
    ds = ray.data.range(10)
    return [
        [part.count() for part in ds.split(2, equal=True)],
        sum(part.count() for part in ds.split(3)),
        [rows(part) for part in ds.split_at_indices([2, 5])],
        [part.count() for part in ds.split_proportionately([0.2, 0.5])],
        [part.count() for part in ds.train_test_split(0.3)],
        [rows(part) for part in ds.train_test_split(2)],
        refused(lambda: ds.split(0)),
        refused(lambda: ds.split_at_indices([])),
        refused(lambda: ds.split_at_indices([5, 2])),
        refused(lambda: ds.split_at_indices([-1])),
        refused(lambda: ds.split_proportionately([])),
        refused(lambda: ds.split_proportionately([0.5, 0.6])),
        refused(lambda: ds.train_test_split(1.5)),
        refused(lambda: ds.train_test_split(20)),
    ]


@program
def a_streaming_split(ray):
    parts = ray.data.range(8).streaming_split(2, equal=True)

    @ray.remote
    def take(part):
        return [row["id"] for row in part.iter_rows()]

    found = ray.get([take.remote(part) for part in parts])
    return [
        [len(part) for part in found],
        sorted([n for part in found for n in part]),
        type(parts).__name__,
    ]


# What is there, and what it becomes


@program
def what_is_materialized(ray):
    ds = ray.data.range(4, override_num_blocks=2).map(lambda row: row)
    done = ds.materialize()
    return [
        type(ds).__name__,
        type(done).__name__,
        done.num_blocks(),
        done.count(),
        done.size_bytes(),
        refused(lambda: ds.num_blocks()),
        ds.schema(fetch_if_missing=False) is None,
        ds.input_files(),
    ]


@program
def to_other_libraries(ray):
    ds = ray.data.from_items([{"i": 1, "s": "x"}, {"i": 2, "s": None}])
    frame = ds.to_pandas()
    tables = ray.get(ds.to_arrow_refs())
    return [
        frame.to_dict("list"),
        [str(frame["i"].dtype), list(frame.columns)],
        refused(lambda: ds.to_pandas(limit=1)),
        [type(table).__name__ for table in tables][:1],
        sum(len(table) for table in ray.get(ds.to_pandas_refs())),
        told(np.concatenate(ray.get(ray.data.range(3).to_numpy_refs(column="id")))),
    ]


@program
def names_and_statistics(ray):
    ds = ray.data.range(3)
    ds.set_name("mine")
    done = ds.materialize()
    return [ds.name, type(done.stats()).__name__, done.has_serializable_lineage()]


@program
def a_lineage_travels(ray):
    data = library(ray, "data")
    with tempfile.TemporaryDirectory() as folder:
        pd.DataFrame({"a": [1, 2]}).to_csv(f"{folder}/a.csv", index=False)
        ds = data.read_csv(f"{folder}/a.csv").map(lambda row: {"b": row["a"] + 1})
        again = data.Dataset.deserialize_lineage(ds.serialize_lineage())
        return rows(again)


# Files


@program
def text_and_binary_files(ray):
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/a.txt", "w") as file:
            file.write("one\n\ntwo")
        read = ray.data.read_text
        return [
            rows(read(f"{folder}/a.txt")),
            rows(read(f"{folder}/a.txt", drop_empty_lines=False)),
            rows(ray.data.read_binary_files(f"{folder}/a.txt")),
            refused(lambda: read(f"{folder}/b.txt").take_all(), "b.txt"),
            refused(lambda: read(f"{folder}/a.txt", encoding="nonsense").take_all()),
        ]


@program
def numpy_files(ray):
    with tempfile.TemporaryDirectory() as folder:
        ray.data.range(3, override_num_blocks=1).write_numpy(f"{folder}/out", column="id")
        np.save(f"{folder}/a.npy", np.arange(4).reshape(2, 2))
        (written,) = glob.glob(f"{folder}/out/*")
        return [
            told(np.load(written)),
            rows(ray.data.read_numpy(f"{folder}/a.npy")),
            refused(lambda: ray.data.range(1).write_numpy(f"{folder}/b", column="nothing")),
        ]


@program
def files_that_are_not_there(ray):
    with tempfile.TemporaryDirectory() as folder:
        pd.DataFrame({"a": [1]}).to_csv(f"{folder}/a.csv", index=False)
        read = ray.data.read_csv
        both = [f"{folder}/a.csv", f"{folder}/b.csv"]
        return [
            refused(lambda: read(both).take_all()),
            rows(read(both, ignore_missing_paths=True)),
            refused(lambda: read(folder, file_extensions=["parquet"]).take_all()),
            refused(lambda: read(f"{folder}/b.csv", ignore_missing_paths=True).take_all()),
        ]


@program
def files_in_folders_that_tell(ray):
    data, source = library(ray, "data"), library(ray, "data.datasource")
    with tempfile.TemporaryDirectory() as folder:
        for year in (2023, 2024):
            os.makedirs(f"{folder}/year={year}")
            pd.DataFrame({"a": [year % 10]}).to_csv(f"{folder}/year={year}/x.csv", index=False)
        hive = source.Partitioning("hive", field_types={"year": int})
        found = data.read_csv(folder, partitioning=hive)
        only = data.read_csv(
            folder,
            partition_filter=source.PathPartitionFilter.of(
                style="hive", filter_fn=lambda fields: fields["year"] == "2024"
            ),
        )
        return [rows(found.sort("a")), rows(data.read_csv(folder).sort("a")), only.count()]


@program
def modes_of_writing(ray):
    with tempfile.TemporaryDirectory() as folder:
        path, ds = f"{folder}/out", ray.data.range(2)
        for _ in range(2):
            ds.write_parquet(path)
        appended = ray.data.read_parquet(path).count()
        ds.write_parquet(path, mode="overwrite")
        written = ray.data.read_parquet(path).count()
        ds.write_parquet(path, mode="ignore")
        ignored = ray.data.read_parquet(path).count()
        wrong = refused(lambda: ds.write_parquet(path, mode="error"))
        return [appended, written, ignored, wrong]


@program
def databases(ray):
    with tempfile.TemporaryDirectory() as folder:

        def connect():
            return sqlite3.connect(f"{folder}/db")

        with connect() as base:
            base.execute("create table t (a integer, s text)")
            base.execute("insert into t values (1, 'x'), (2, null)")
        ds = ray.data.read_sql("select * from t order by a", connect)
        ray.data.from_items([{"a": 3, "s": "z"}]).write_sql("insert into t values (?, ?)", connect)
        again = ray.data.read_sql("select a from t where a > ?", connect, sql_params=(1,))
        return [
            rows(ds),
            sorted(row["a"] for row in again.take_all()),
            refused(lambda: ray.data.read_sql("select * from nothing", connect).take_all()),
        ]


# Preprocessors


@program
def preprocessors_of_labels(ray):
    pre = library(ray, "data.preprocessors")
    ds = ray.data.from_items([{"c": "x", "n": 1}, {"c": "y", "n": None}, {"c": "x", "n": 3}])
    made = [
        pre.LabelEncoder("c"),
        pre.OrdinalEncoder(["c"]),
        pre.OneHotEncoder(["c"]),
        pre.SimpleImputer(["n"], strategy="mean"),
        pre.SimpleImputer(["n"], strategy="constant", fill_value=9),
        pre.Categorizer(["c"]),
    ]
    fitted = pre.LabelEncoder("c").fit(ds)
    return [
        *(rows(each.fit_transform(ds)) for each in made),
        rows(fitted.inverse_transform(fitted.transform(ds))),
        told(dict(fitted.stats_)),
    ]


@program
def preprocessors_refuse(ray):
    pre = library(ray, "data.preprocessors")
    ds = ray.data.from_items([{"a": 1.0}])
    return [
        refused(lambda: pre.StandardScaler(["a"]).transform(ds)),
        refused(lambda: pre.StandardScaler(["nothing"]).fit(ds)),
        refused(lambda: pre.SimpleImputer(["a"], strategy="nonsense")),
        told(pre.StandardScaler(["a"]).fit(ds).transform_batch({"a": np.array([1.0])})),
    ]


# Found by comparing by hand


@program
def items_of_lists_and_structs_by_index(ray):
    col = library(ray, "data.expressions").col
    ds = ray.data.from_items([{"l": [3, 4, 5], "d": {"j": 6, "k": 7}}])
    made = [col("l").list[1], col("l").list[1:3], col("d").struct["j"], col("d").struct[1]]
    return [[row["x"] for row in ds.with_column("x", e).take_all()] for e in made]


@program
def the_first_rows_of_a_zip(ray):
    ds = ray.data.range(30).repartition(3)
    zipped = ds.zip(ds.map(lambda row: {"b": -row["id"]}))
    return [told(zipped.take(2)), rows(zipped.filter(expr="id > 3").limit(2)), zipped.columns()]


@program
def right_joins_by_other_names(ray):
    left = ray.data.from_arrow(pa.table({"a": [1, 1, None], "v": [1, 2, 3]}))
    right = ray.data.from_arrow(pa.table({"v": [10, 20], "c": [1, 2], "u": ["x", None]}))
    found = []
    for kind in ("inner", "left_outer", "right_outer", "full_outer", "right_semi", "right_anti"):
        joined = left.join(right, kind, 2, on=("a",), right_on=("c",), left_suffix="_l")
        found.append(sorted([list(row.items()) for row in told(joined.take_all())], key=repr))
    return found


@program
def lines_of_text_of_any_system(ray):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.txt")
        with open(path, "wb") as file:
            file.write(b"one\r\n\r\ntwo\rthree\n")
        return [
            rows(ray.data.read_text(path)),
            rows(ray.data.read_text(path, drop_empty_lines=False)),
        ]


@program
def stratified_splits(ray):
    ds = ray.data.from_items([{"n": n, "c": "abc"[n % 3]} for n in range(12)])
    parts = [ds.train_test_split(size, stratify="c") for size in (0.1, 0.3, 3)]
    return [[sorted(row["n"] for row in part.take_all()) for part in both] for both in parts]


@program
def preprocessors_and_missing_values(ray):
    pre = library(ray, "data.preprocessors")
    ds = ray.data.from_arrow(pa.table({"a": [3.0, None], "b": [4.0, -2.0], "n": [None, 1]}))
    norms = [pre.Normalizer(["a", "b"], norm=norm) for norm in ("l1", "l2", "max")]
    vectors = pre.Concatenator(["b"], output_column_name="v").transform(ds)
    return [
        *(told([[row["a"], row["b"]] for row in one.transform(ds).take_all()]) for one in norms),
        [[row["n"], row["v"].tolist()] for row in vectors.take_all()],
    ]


@program
def a_column_more_beside_null(ray):
    ds = ray.data.from_arrow(pa.table({"n": [3, None, 2**60 + 1], "s": ["x", None, "y"]}))
    more = ds.add_column("z", lambda batch: [1, 2, 3])
    return [rows(more), types(more.materialize())[0]]


@program
def filters_that_are_text(ray):
    ds = ray.data.from_arrow(pa.table({"a": [3, None, 1, 2], "s": ["b", None, "a", "B"]}))
    said = [
        "a > 1",
        "a is None",
        "s == 'b'",
        "s in ['a', 'b']",
        "a not in [1]",
        "not (a > 1)",
        "a >",
    ]
    return [
        refused(lambda one=one: [row["a"] for row in ds.filter(expr=one).take_all()])
        for one in said
    ]


@program
def types_of_torch_batches(ray):
    torch = importlib.import_module("torch")
    ds = ray.data.from_arrow(pa.table({"i": [1, 2], "l": [[1, 2], [3, 4]], "b": [True, False]}))

    def seen(**options):
        batches = ds.iter_torch_batches(**options)
        return [{k: [str(v.dtype), v.tolist()] for k, v in one.items()} for one in batches]

    return [
        seen(),
        seen(dtypes=torch.float32),
        seen(batch_size=1, drop_last=True),
        seen(collate_fn=lambda batch: {"s": torch.as_tensor(batch["i"]).sum()}),
        refused(lambda: seen(dtypes={"i": torch.int32, "l": torch.int32, "z": torch.int32})),
    ]


@program
def values_are_counted(ray):
    counter = library(ray, "data.aggregate").ValueCounter
    ds = ray.data.from_arrow(pa.table({"x": [2, None, 2, 1], "g": ["a", "a", "b", "b"]}))
    found = [ds.aggregate(counter("x")), *ds.groupby("g").aggregate(counter("x")).take_all()]
    counts = [one["value_counter(x)"] for one in found]
    return sorted(sorted(zip(map(str, c["values"]), c["counts"], strict=True)) for c in counts)


@program
def shares_and_nulls(ray):
    kinds = library(ray, "data.aggregate")
    ds = ray.data.from_arrow(pa.table({"x": [0, None, 3, 0], "f": [0.0, 2.5, None, None]}))
    return told(
        ds.aggregate(
            kinds.MissingValuePercentage("x"),
            kinds.ZeroPercentage("x"),
            kinds.ZeroPercentage("x", ignore_nulls=False, alias_name="zeros of all"),
            kinds.Quantile("f", q=0.25, alias_name="a quarter"),
            kinds.Quantile("x", ignore_nulls=False, alias_name="with nulls"),
            kinds.AbsMax("f"),
            kinds.CountDistinct("x", ignore_nulls=False),
        )
    )


@program
def the_accessor_of_a_block(ray):
    accessor = library(ray, "data.block").BlockAccessor

    class Spread(library(ray, "data.aggregate").AggregateFnV2):
        def __init__(self, on):
            super().__init__(f"spread({on})", lambda: [9, -9], on=on, ignore_nulls=True)

        def aggregate_block(self, block):
            column, seen = self._target_col_name, accessor.for_block(block)
            return [seen.min(column, True), seen.max(column, True)]

        def combine(self, one, other):
            return [min(one[0], other[0]), max(one[1], other[1])]

        def finalize(self, both):
            return both[1] - both[0]

    table = pa.table({"g": [1, 1, 2], "x": [4, None, -2]})
    ds, alone = ray.data.from_arrow(table), accessor.for_block(table)
    return [
        ds.aggregate(Spread("x")),
        sorted(row["spread(x)"] for row in ds.groupby("g").aggregate(Spread("x")).take_all()),
        [alone.count("x"), alone.count("x", True), alone.sum("x", True), alone.sum("x", False)],
        [alone.mean("x", True), alone.min("g", False), alone.max("g", False)],
    ]


@program
def shares_of_few_rows(ray):
    ds = ray.data.range(10).materialize()
    return [
        [part.count() for part in ds.split_proportionately([0.2, 0.05, 0.05])],
        refused(lambda: ds.split_proportionately([0.01])),
        refused(lambda: ds.split_proportionately([0.2, -0.1])),
    ]


@program
def columns_that_are_missing_are_imputed(ray):
    imputer = library(ray, "data.preprocessors").SimpleImputer
    ds = ray.data.from_arrow(pa.table({"n": [1.0, None, 3.0], "s": ["x", None, "x"]}))
    frame, seen = pd.DataFrame({"o": [1, 2]}), []
    for one in (
        imputer(["n"]),
        imputer(["s"], strategy="most_frequent", output_columns=["t"]),
        imputer(["c"], strategy="constant", fill_value=7),
    ):
        fitted = one if one.strategy == "constant" else one.fit(ds)
        seen.append(fitted.transform_batch(frame.copy()).to_dict("list"))
    return [seen, rows(imputer(["n"]).fit_transform(ds))]


@program
def words_and_bins(ray):
    made = library(ray, "data.preprocessors")
    ds = ray.data.from_arrow(pa.table({"t": ["a b a", "b c"], "n": [0, 4]}))
    texts = pd.DataFrame({"t": ["a z b", ""], "n": [1, 5]})

    def seen(one, fit=True):
        changed = (one.fit(ds) if fit else one).transform_batch(texts.copy())
        return {k: [told(list(v) if k == "t" else v) for v in changed[k]] for k in changed}

    return [
        seen(made.CountVectorizer(["t"])),
        seen(made.Tokenizer(["t"], tokenization_fn=list), fit=False),
        seen(made.CustomKBinsDiscretizer(["n"], bins=[0, 2, 4]), fit=False),
        seen(made.UniformKBinsDiscretizer(["n"], bins=2)),
        repr(made.Tokenizer(["t"], tokenization_fn=list)),
    ]


@program
def expressions_of_numbers(ray):
    col = library(ray, "data.expressions").col
    ds = ray.data.from_arrow(pa.table({"i": [1, -2, None, 4], "f": [1.5, -0.5, None, 2.4]}))
    for verb in ("abs", "ceil", "floor", "trunc", "round", "sign", "exp", "ln", "negate"):
        ds = ds.with_column(verb, getattr(col("f"), verb)())
    ds = ds.with_column("square", col("i").power(2)).with_column("half", col("i") / 2)
    ds = ds.with_column("in", col("i").is_in([1, None])).with_column("out", col("i").not_in([1]))
    return [rows(ds), types(ds.materialize())]


@program
def expressions_of_text(ray):
    col = library(ray, "data.expressions").col
    ds = ray.data.from_arrow(pa.table({"s": [" Ab-c", "hello world", None, ""]}))
    text = col("s").str
    for name, one in {
        "pad": text.pad(8, fillchar="*", side="both"),
        "center": text.center(7, "*"),
        "extract": text.extract("(?P<l>l+)"),
        "find": text.find("o"),
        "cut": text.replace_slice(0, 2, "ZZ"),
        "parts": text.split_regex("[- ]"),
        "words": text.split_whitespace(),
        "once": text.replace("l", "L", max_replacements=1),
        "like": text.match("%l_o%"),
        "title": text.title(),
        "bytes": text.byte_len(),
        "slice": text.slice(0, 6, 2),
    }.items():
        ds = ds.with_column(name, one)
    return [rows(ds), types(ds.materialize())]


@program
def expressions_of_times_and_nested_values(ray):
    col = library(ray, "data.expressions").col
    when = [pd.Timestamp("2024-02-29 13:45:59"), pd.Timestamp("1969-12-31 23:00:00"), None]
    ds = ray.data.from_arrow(
        pa.table(
            {
                "t": pa.array(when, pa.timestamp("us")),
                "l": [[3, None, 2], [], None],
                "d": [[[1], [2, 3]], [], None],
                "s": [{"a": 1}, {"a": None}, None],
                "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            }
        )
    )
    more = {
        "floor": col("t").dt.floor("hour"),
        "ceil": col("t").dt.ceil("day"),
        "text": col("t").dt.strftime("%Y/%m"),
        "sorted": col("l").list.sort(order="descending", null_placement="at_start"),
        "two": col("l").list.slice(0, 2),
        "flat": col("d").list.flatten(),
        "field": col("s").struct.field("a"),
        "keys": col("m").map.keys(),
        "values": col("m").map.values(),
    }
    for name, one in more.items():
        ds = ds.with_column(name, one)
    return rows(ds.select_columns(list(more)))


@program
def what_columns_of_batches_become(ray):
    one = ray.data.range(1).materialize()

    def seen(values):
        return refused(lambda: one.map_batches(lambda batch: {"a": values}).take_all())

    return [
        seen([1, None]),
        seen([1, 2.5]),
        seen([2**63]),
        seen([[1], [1, 2]]),
        seen(np.zeros((2, 1, 2), "float32")),
        seen(np.array(["a", None], dtype=object)),
        seen(np.array(["2024-01-01T00:00:01"], dtype="datetime64[ns]")),
        rows(one.map_batches(lambda frame: frame.rename(columns={"id": 0}), batch_format="pandas")),
        rows(one.map_batches(lambda batch: ({"a": [i]} for i in range(2)))),
    ]


@program
def parquet_files_in_folders_by_value(ray):
    ds = ray.data.from_arrow(
        pa.table({"i": [1, 2, 3], "g": ["a", "b", "a"], "f": [0.5, None, 1.5]})
    )
    parquet = importlib.import_module("pyarrow.parquet")
    with tempfile.TemporaryDirectory() as folder:
        ds.write_parquet(f"{folder}/by", partition_cols=["g"])
        back = ray.data.read_parquet(f"{folder}/by")
        few = back.filter(expr="g == 'a'")
        ds.repartition(1).write_parquet(f"{folder}/one", compression="gzip", row_group_size=2)
        (file,) = glob.glob(f"{folder}/one/*.parquet")
        told_of = parquet.ParquetFile(file).metadata
        return [
            sorted(os.listdir(f"{folder}/by")),
            sorted(rows(back), key=str),
            sorted(row["i"] for row in few.take_all()),
            [told_of.num_row_groups, told_of.row_group(0).column(0).compression],
            refused(lambda: ray.data.read_parquet(f"{folder}/one", file_extensions=["csv"])),
        ]


@program
def parquet_files_whose_columns_differ(ray):
    parquet = importlib.import_module("pyarrow.parquet")
    with tempfile.TemporaryDirectory() as folder:
        for name, columns in {
            "a": {"a": [1]},
            "b": {"a": [2], "b": ["x"]},
            "c": {"a": [2.5]},
        }.items():
            parquet.write_table(pa.table(columns), f"{folder}/{name}.parquet")
        first, more, wide = (f"{folder}/{name}.parquet" for name in "abc")
        return [
            sorted(rows(ray.data.read_parquet([first, more])), key=str),
            sorted(rows(ray.data.read_parquet([first, wide])), key=str),
            ray.data.read_parquet([first, more], columns=[]).count(),
        ]


@program
def texts_of_files_that_are_written(ray):
    ds = ray.data.from_arrow(pa.table({"i": [1, None], "s": ['z,"q"', None]})).repartition(1)
    with tempfile.TemporaryDirectory() as folder:
        ds.write_csv(f"{folder}/csv")
        ds.write_json(f"{folder}/lines")
        ds.write_json(f"{folder}/whole", orient="records", lines=False)
        texts = []
        for kind in ("csv", "lines", "whole"):
            (file,) = glob.glob(f"{folder}/{kind}/*")
            with open(file) as opened:
                texts.append(opened.read())
        return [texts, rows(ray.data.read_csv(f"{folder}/csv"))]


def begin(ray):
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    if ray.__name__ == "ray":
        context.enable_progress_bars = False


if __name__ == "__main__":
    main("data", "data.expressions", "data.aggregate", begin=begin)
