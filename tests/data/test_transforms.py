"""Lazy verbs: what they accept, what they refuse at once, and what they do with it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data import ActorPoolStrategy, TaskPoolStrategy
from heliostat.data.expressions import col

pytestmark = pytest.mark.usefixtures("inline")


class Scale:
    """Multiplies by what it was built with."""

    def __init__(self, by=2):
        self.by = by

    def __call__(self, batch, plus=0):
        return {"id": batch["id"] * self.by + plus}


@pytest.fixture
def items():
    return ray.data.from_items([{"a": n, "b": float(n), "s": str(n)} for n in range(4)])


@pytest.mark.parametrize(
    "how", [{}, {"concurrency": 1}, {"concurrency": (1, 2)}, {"compute": ActorPoolStrategy(size=1)}]
)
def test_a_callable_class_is_built_with_its_arguments(how):
    ds = ray.data.range(3).map_batches(
        Scale, fn_constructor_kwargs={"by": 3}, fn_kwargs={"plus": 1}, **how
    )
    assert [row["id"] for row in ds.take_all()] == [1, 4, 7]


def test_functions_get_their_further_arguments():
    ds = ray.data.range(2).map(
        lambda row, x, y: {"id": row["id"] + x * y}, fn_args=(2,), fn_kwargs={"y": 5}
    )
    assert ds.take_all() == [{"id": 10}, {"id": 11}]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("numpy", dict),
        ("default", dict),
        ("pandas", pd.DataFrame),
        ("pyarrow", pa.Table),
        (None, pa.Table),
    ],
)
def test_the_function_sees_batches_of_the_asked_format_and_size(items, form, kind):
    seen = []

    def look(batch):
        seen.append((type(batch), len(batch["a"])))
        return batch

    assert items.map_batches(look, batch_format=form, batch_size=3).take_all() == items.take_all()
    assert seen == [(kind, 3), (kind, 1)]


def test_a_batch_may_be_changed_in_place(items):
    def double(batch):
        batch["a"] *= 2
        return batch

    assert [row["a"] for row in items.map_batches(double).take_all()] == [0, 2, 4, 6]
    assert [row["a"] for row in items.take_all()] == [0, 1, 2, 3]


def test_a_function_may_use_its_output_array_again():
    out = {"n": np.zeros(2, int), "v": np.zeros((2, 2)), "t": np.zeros(2, "datetime64[us]")}

    def fill(batch):
        out["n"][:] = batch["id"]
        out["v"][:] = batch["id"][:, None]
        out["t"][:] = batch["id"].astype("datetime64[us]")
        return out

    taken = ray.data.range(4).map_batches(fill, batch_size=2).take_batch()
    assert taken["n"].tolist() == taken["v"][:, 1].tolist() == [0, 1, 2, 3]
    assert taken["t"].astype(int).tolist() == [0, 1, 2, 3]


def test_every_dtype_of_numpy_keeps_its_values():
    for dtype in ("int8", "uint16", "int32", "uint64", "float16", "float32", ">i4", "bool", "U3"):
        array = np.array([0, 1, 1], dtype)
        back = ray.data.from_numpy(array).take_batch()["data"]
        assert back.tolist() == array.tolist(), dtype


def test_a_generator_may_give_many_batches_for_one():
    def spread(batch):
        for value in batch["id"]:
            yield {"id": [value, value]}

    ds = ray.data.range(2).map_batches(spread)
    assert [row["id"] for row in ds.take_all()] == [0, 0, 1, 1]


def test_a_function_may_return_tensors_of_any_shape():
    ds = ray.data.range(3).map_batches(lambda b: {"image": np.ones((len(b["id"]), 2, 3))})
    assert ds.take_batch(2)["image"].shape == (2, 2, 3)
    assert ds.take(1)[0]["image"].shape == (2, 3)
    rows = ray.data.range(2).map(lambda row: {"v": np.arange(3)})
    assert rows.take_batch()["v"].tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (5, "must return a dict of columns"),
        (None, "must return a dict of columns"),
        ({"a": [1], "b": [1, 2]}, "different lengths: {'a': 1, 'b': 2}"),
        ({"a": 3}, "column 'a'"),
        ({"a": [(one for one in [])]}, "column 'a'"),
    ],
)
def test_a_bad_batch_names_the_step_and_the_column(result, message):
    with pytest.raises(ValueError, match=message) as caught:
        ray.data.range(1).map_batches(lambda batch: result).take_all()
    assert "MapBatches(<lambda>)" in str(caught.value)


def test_flat_map_needs_rows_in_something():
    async def later(row):
        return row

    said = r"FlatMap\(.*\) must give several rows, such as a list"
    for fn, error in (
        (lambda row: 5, TypeError),
        (later, ValueError),
        (lambda row: row, ValueError),
    ):
        with pytest.raises(error, match=said):
            ray.data.range(1).flat_map(fn).take_all()
    assert ray.data.range(1).flat_map(lambda row: row, on_error="skip").take_all() == []


def test_a_row_must_be_a_dict():
    with pytest.raises(ValueError, match="must give rows, that is dicts, got int"):
        ray.data.range(1).map(lambda row: 5).take_all()


def test_an_unknown_column_is_told_at_once_with_those_there_are(items):
    for verb in (items.drop_columns, items.select_columns):
        with pytest.raises(KeyError, match=r"'zz'.*\['a', 'b', 's'\]"):
            verb(["zz"])
    with pytest.raises(KeyError, match="rename_columns: no column named 'zz'"):
        items.rename_columns({"zz": "y"})


def test_an_unknown_column_after_a_function_is_told_when_it_runs(items):
    with pytest.raises(KeyError, match=r"'zz'.*\['a', 'b', 's'\]"):
        items.map(lambda row: row).drop_columns("zz").take_all()


def test_columns_can_be_renamed_by_a_list(items):
    assert items.rename_columns(["x", "y", "z"]).columns() == ["x", "y", "z"]
    with pytest.raises(ValueError, match="1 names for 3 columns"):
        items.rename_columns(["x"])
    with pytest.raises(ValueError, match="two columns with one name"):
        items.rename_columns({"a": "b"})


def test_select_keeps_the_asked_order_and_refuses_repeats(items):
    assert items.select_columns(["s", "a"]).columns() == ["s", "a"]
    with pytest.raises(ValueError, match="twice"):
        items.select_columns(["a", "a"])
    with pytest.raises(ValueError, match="needs column names"):
        items.drop_columns([])


@pytest.mark.parametrize("form", ["pandas", "numpy", "pyarrow"])
def test_a_column_can_be_added_and_replaced(items, form):
    ds = items.add_column("c", lambda batch: np.asarray(batch["a"]) + 1, batch_format=form)
    assert [row["c"] for row in ds.take_all()] == [1, 2, 3, 4]
    again = ds.add_column("c", lambda batch: np.asarray(batch["c"]) * 0, batch_format=form)
    assert [row["c"] for row in again.take_all()] == [0, 0, 0, 0]


@pytest.mark.parametrize("form", ["pandas", "numpy", "pyarrow"])
def test_a_new_column_leaves_the_others_as_they_are(form):
    table = pa.table(
        {"n": [3, None, 2**60 + 1], "f": [0.5, float("nan"), None], "s": ["x", None, "y"]}
    )
    ds = ray.data.from_arrow(table)
    kept = ds.add_column("z", lambda batch: [1, 2, 3], batch_format=form).materialize()
    assert kept.schema().base_schema == table.schema.append(pa.field("z", pa.int64()))
    assert repr(kept.drop_columns(["z"]).take_all()) == repr(table.to_pylist())
    with pytest.raises(ValueError, match=r"add_column.*2 values for 3 rows|Length of values"):
        ds.add_column("z", lambda batch: [1, 2], batch_format=form).take_all()


def test_one_value_of_pandas_is_the_column_of_all_rows(items):
    assert [row["z"] for row in items.add_column("z", lambda frame: 5).take_all()] == [5] * 4


def test_rows_without_columns_are_refused_and_not_lost():
    with pytest.raises(ValueError, match="rows need a column at least"):
        ray.data.range(3).map(lambda row: {}).take_all()


def test_a_limit_below_zero_is_zero(items):
    assert items.limit(-3).take_all() == []
    with pytest.raises(TypeError, match="limit must be an int"):
        items.limit(1.5)


def test_a_union_promotes_types_and_fills_missing_columns(items):
    both = items.select_columns("a").union(ray.data.from_items([{"a": 0.5, "q": 1}]))
    assert both.to_pandas()["a"].tolist() == [0.0, 1.0, 2.0, 3.0, 0.5]
    assert both.columns() == ["a", "q"]


def test_a_shuffle_keeps_all_rows_and_follows_its_seed():
    ds = ray.data.range(200)
    mixed = ds.random_shuffle(seed=1).take_all()
    assert mixed != ds.take_all()
    assert sorted(row["id"] for row in mixed) == list(range(200))
    assert mixed == ds.random_shuffle(seed=1).take_all()
    assert mixed != ds.random_shuffle(seed=2).take_all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be an int >= 1"),
        ({"batch_format": "zz"}, "batch_format must be one of"),
        ({"concurrency": 0}, "size must be >= 1"),
        ({"concurrency": (1, 2)}, "is a function; give a single number"),
        ({"concurrency": "2"}, "concurrency must be an int"),
        ({"compute": ActorPoolStrategy(size=1)}, "is a function: use TaskPoolStrategy"),
        ({"compute": 3}, "compute must be"),
        ({"compute": TaskPoolStrategy(1), "concurrency": 1}, "not both"),
        ({"fn_constructor_args": (1,)}, "are for callable classes"),
        ({"num_cpus": -1}, "num_cpus must be >= 0"),
    ],
)
def test_bad_options_are_refused_at_the_users_line(options, message):
    with pytest.raises(ValueError, match=message):
        ray.data.range(1).map_batches(lambda batch: batch, **options)


def test_an_unknown_option_is_refused_at_the_users_line():
    with pytest.raises((TypeError, ValueError), match="num_cpu"):
        ray.data.range(1).map(lambda row: row, num_cpu=1)
    with pytest.raises(TypeError, match="zz"):
        ray.data.range(1).select_columns("id", zz=1)


def test_a_class_cannot_run_in_tasks():
    with pytest.raises(ValueError, match="is a class: use ActorPoolStrategy"):
        ray.data.range(1).map_batches(Scale, compute="tasks")


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="must be a function or a callable class"):
        ray.data.range(1).map(5)


def table(rows):
    return pa.table({"a": range(rows)})


@pytest.mark.parametrize(
    ("make", "sizes"),
    [
        (lambda: ray.data.from_pandas(table(50).to_pandas()), [50]),
        (lambda: ray.data.from_arrow([table(50), table(7)]), [50, 7]),
        (lambda: ray.data.from_numpy(np.arange(20)).limit(10), [10]),
        (lambda: ray.data.from_arrow(table(20)).map(lambda row: row), [20]),
        (lambda: ray.data.from_arrow(table(9)).union(ray.data.from_arrow(table(20))), [9, 20]),
        (lambda: ray.data.from_items(list(range(50)), override_num_blocks=2), [25, 25]),
        (lambda: ray.data.range(100, override_num_blocks=4), [25] * 4),
        (lambda: ray.data.range(100).repartition(2), [50, 50]),
        (lambda: ray.data.range(100, override_num_blocks=2).materialize(), [50, 50]),
    ],
)
def test_a_function_of_blocks_is_given_small_ones_as_they_are(make, sizes):
    def size(batch):
        return {"rows": [len(next(iter(batch.values())))]}

    assert [row["rows"] for row in make().map_batches(size).take_all()] == sizes


def test_rows_that_nobody_has_shared_out_are_cut_for_the_workers():
    made = ray.data.from_items(list(range(64))).map_batches(
        lambda batch: {"rows": [len(batch["item"])]}
    )
    assert [row["rows"] for row in made.take_all()] == [4] * 16


def test_integers_beside_null_that_floats_cannot_hold_stay_integers_in_pandas():
    wide = [2**53 + 1, None, 5]
    ds = ray.data.from_arrow(pa.table({"a": wide, "b": [1, None, 2]}))
    assert ds.to_pandas().dtypes.astype(str).tolist() == ["int64[pyarrow]", "float64"]
    same = ds.map_batches(lambda frame: frame[["a"]], batch_format="pandas")
    assert [row["a"] for row in same.take_all()] == wide
    unsigned = ray.data.from_arrow(pa.table({"a": pa.array([2**64 - 1, None], pa.uint64())}))
    assert unsigned.to_pandas()["a"].tolist() == [2**64 - 1, pd.NA]


def test_a_union_has_all_columns_in_one_order_in_each_block():
    one = ray.data.from_arrow(pa.table({"a": [1], "b": ["x"]}))
    turned = one.union(ray.data.from_arrow(pa.table({"b": ["y"], "a": [2]})))
    assert turned.rename_columns(["c", "d"]).take_all() == [{"c": 1, "d": "x"}, {"c": 2, "d": "y"}]
    wide = one.union(ray.data.from_arrow(pa.table({"a": [3], "l": [[1.5]]})))
    assert wide.take_all()[1] == {"a": 3, "b": None, "l": [1.5]}
    assert wide.schema().base_schema == pa.schema(
        {"a": pa.int64(), "b": pa.string(), "l": pa.list_(pa.float64())}
    )
    for made in (
        wide.select_columns("b"),
        wide.drop_columns(["a", "l"]),
        wide.random_shuffle(seed=1).select_columns("b"),
        wide.with_column("b", col("b").fill_null("n")).select_columns("b"),
    ):
        assert "x" in [row["b"] for row in made.take_all()]
    assert [row["a"] for row in wide.filter(expr=col("b").is_null()).take_all()] == [3]
    assert wide.unique("b") == ["x", None]
    mixed = one.mix(ray.data.from_arrow(pa.table({"a": [3]})))
    assert mixed.select_columns("b").count() == 2


def test_different_values_are_those_of_blocks_of_all_types():
    def blocks(*columns):
        return ray.data.from_arrow([pa.table({"a": one}) for one in columns])

    assert blocks([1], [1.5], pa.nulls(1)).unique("a") == [1.0, 1.5, None]
    assert blocks(pa.nulls(1), ["x"], pa.array(["y"], pa.large_string())).unique("a") == [
        None, "x", "y"
    ]  # fmt: skip


def test_categories_and_texts_are_texts_together():
    texts = pa.array(["y", None])
    ds = ray.data.from_arrow(pa.table({"a": texts.dictionary_encode()})).union(
        ray.data.from_arrow(pa.table({"a": ["x"]}))
    )
    assert ds.schema().base_schema.field("a").type == pa.string()
    assert [row["a"] for row in ds.sort("a").take_all()] == ["x", "y", None]
    assert ds.groupby("a").count().count() == 3
