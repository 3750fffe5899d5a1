"""Programs of Data: where rows come from, verbs, aggregates, expressions, shapes, errors, files."""

import decimal

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


def begin(ray):
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    if ray.__name__ == "ray":
        context.enable_progress_bars = False


if __name__ == "__main__":
    main("data", "data.expressions", "data.aggregate", begin=begin)
