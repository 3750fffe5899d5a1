"""Columns between Arrow, numpy and pandas."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data import arrays
from heliostat.data.arrays import (
    RaggedTensorType,
    from_numbers,
    ragged,
    row_maker,
    to_arrow,
    to_numbers,
    to_numpy,
    values_of,
)
from heliostat.data.block import concat, from_batch, iter_rows, take_rows, to_batch
from heliostat.data.expressions import lit

VALUES = [np.arange(6, dtype=np.uint8).reshape(2, 3), np.ones((1, 2), np.uint8), None]


def test_tensors_of_several_shapes_come_back():
    column = pa.chunked_array([to_arrow(VALUES, "x", "a test"), to_arrow(VALUES, "x", "a test")])
    assert column.type == RaggedTensorType(pa.uint8())
    back = to_numpy(column[1:5], True)
    wanted = [*VALUES, *VALUES][1:5]
    for one, value in zip(back, wanted, strict=True):
        assert (one is None and value is None) or np.array_equal(one, value)
    assert back[0].flags.writeable


def test_tensors_of_one_shape_stay_so_and_fit_with_others():
    one = from_batch({"x": np.zeros((2, 2, 2), np.uint8)})
    other = from_batch({"x": np.zeros((1, 3, 2), np.uint8)})
    mixed = from_batch({"x": VALUES})
    both = concat([one, other, mixed])
    shapes = [None if v is None else v.shape for v in to_batch(both, "numpy")["x"]]
    assert shapes == [(2, 2), (2, 2), (3, 2), (2, 3), (1, 2), None]
    assert [row["x"] is None for row in iter_rows(both)] == [False] * 5 + [True]
    taken = take_rows(both, np.array([4, 0]))
    assert [v.shape for v in to_batch(taken, "numpy")["x"]] == [(1, 2), (2, 2)]
    assert to_batch(both, "pandas")["x"][2].shape == (3, 2)


def test_they_survive_files(tmp_path):
    pq.write_table(pa.table({"x": ragged(VALUES)}), tmp_path / "a.parquet")
    (row, *_) = iter_rows(pq.read_table(tmp_path / "a.parquet"))
    assert np.array_equal(row["x"], VALUES[0])


@pytest.mark.usefixtures("inline")
def test_a_dataset_of_pictures_of_several_sizes_has_each_in_its_own(tmp_path):
    rows = [{"image": np.full((n, 2), n, np.uint8)} for n in range(1, 30)]
    ds = ray.data.from_items(rows, override_num_blocks=7)
    doubled = ds.map(lambda row: {"image": row["image"] * 2})
    for n, row in enumerate(doubled.iter_rows(), 1):
        assert np.array_equal(row["image"], np.full((n, 2), 2 * n))
    shuffled = doubled.random_shuffle(seed=1).take_batch(5)["image"]
    assert {one.ndim for one in shuffled} == {2}


WIDE = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
NONE_LEFT = {
    "limit": lambda ds: ds.limit(0),
    "expression": lambda ds: ds.with_column("n", lit(1)).filter(expr="n > 2").drop_columns(["n"]),
    "function": lambda ds: ds.filter(lambda row: False),
    "sorted": lambda ds: ds.with_column("n", lit(1)).sort("n").limit(0).drop_columns(["n"]),
    "batches": lambda ds: ds.map_batches(lambda batch: {"data": batch["data"][:0]}),
    "groups": lambda ds: (
        ds.with_column("n", lit(1))
        .groupby("n")
        .map_groups(lambda group: {"data": group["data"][:0]})
    ),
}


@pytest.mark.parametrize("name", NONE_LEFT)
@pytest.mark.usefixtures("inline")
def test_tensors_of_several_dimensions_may_all_be_left_out(name):
    ds = NONE_LEFT[name](ray.data.from_numpy(WIDE))
    assert ds.take_all() == []
    assert ds.to_pandas().columns.tolist() == ["data"]
    assert ds.to_arrow().schema.field("data").type.shape == [2, 3]
    assert ds.map_batches(lambda batch: batch).count() == 0


def test_tensors_keep_their_values_whatever_their_layout():
    for array in (WIDE, np.asfortranarray(WIDE), WIDE.transpose(2, 0, 1), WIDE[::2], WIDE > 3):
        column = to_arrow(array, "a", "test")
        assert np.array_equal(to_numpy(pa.chunked_array([column]), False), array)


def test_tensors_of_others_with_an_order_of_their_own_may_have_no_rows():
    kind = pa.fixed_shape_tensor(pa.int8(), (2, 3), permutation=[1, 0])
    empty = arrays.no_rows(pa.schema([("a", kind), ("b", pa.string())]))
    assert empty.num_rows == 0
    assert empty.schema.field("a").type == kind
    assert arrays.no_rows(pa.schema([])).num_columns == 0


VIEWS = {
    "text": (pa.string_view(), ["a", None, "b" * 30]),
    "bytes": (pa.binary_view(), [b"a", None, b"b"]),
    "list": (pa.list_(pa.string_view()), [["a"], None, []]),
    "large": (pa.large_list(pa.string_view()), [["a"], None, []]),
    "struct": (pa.struct([("x", pa.string_view())]), [{"x": "a"}, None, {"x": None}]),
    "map": (pa.map_(pa.string_view(), pa.int64()), [[("a", 1)], None, []]),
}


needs_casts = pytest.mark.skipif(not arrays._can_cast(), reason="this Arrow casts no views")


@needs_casts
def test_views_become_what_arrow_has_kernels_for():
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in VIEWS.items()})
    letters = pa.array(["u", "v"], pa.string_view())
    table = table.append_column("dict", pa.DictionaryArray.from_arrays([0, None, 1], letters))
    made = arrays.without_views(table)
    assert "view" not in str(made.schema)
    assert made.to_pylist() == table.to_pylist()
    assert arrays.without_views(made) is made


@needs_casts
@pytest.mark.usefixtures("inline")
def test_text_of_polars_is_sorted_filtered_and_grouped(tmp_path):
    table = pa.table({"s": pa.array(["b", "a", "b"], pa.string_view()), "n": [1, 2, 3]})
    pq.write_table(table, tmp_path / "views.parquet")
    for ds in (
        ray.data.from_arrow(table),
        ray.data.read_parquet(str(tmp_path)),
        ray.data.range(1).map_batches(lambda _: table),
    ):
        assert ds.schema().types[0] == pa.string()
        assert [row["n"] for row in ds.sort("s").iter_rows()] == [2, 1, 3]
        assert ds.filter(expr="s == 'b'").count() == 2
        assert ds.groupby("s").count().take(1) == [{"s": "a", "count()": 1}]
        assert ds.filter(lambda row: row["s"] > "a").take_all()[-1] == {"s": "b", "n": 3}


class Tensor:
    """What torch's look like to numpy."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.shape, self.dtype = self._values.shape, f"other.{self._values.dtype}"

    def __array__(self, dtype=None, copy=None):
        if self._values.dtype == bool:
            raise TypeError("masks are not for numpy")
        return self._values

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return map(Tensor, self._values)


def test_array_likes_of_other_libraries_are_stored_as_arrays():
    pictures = [np.full((1, 2, 3), n, np.float32) for n in range(3)]
    whole = {
        "list": [Tensor(one) for one in pictures],
        "first missing": [None, *map(Tensor, pictures[1:])],
        "one": Tensor(np.stack(pictures)),
        "series": pd.Series([Tensor(one) for one in pictures]),
    }
    for name, column in whole.items():
        back = to_numpy(pa.chunked_array([to_arrow(column, "x", "test")]), False)
        assert back.dtype == (object if name == "first missing" else np.float32)
        assert np.array_equal(back[2], pictures[2])
    numbers = to_arrow([Tensor(1), Tensor(2)], "x", "test")
    assert numbers.to_pylist() == [1, 2]
    assert to_arrow([np.array(1), np.array(2)], "x", "test").to_pylist() == [1, 2]
    shapes = to_numpy(pa.chunked_array([to_arrow([Tensor([[1]]), Tensor([[1, 2]])], "x", "t")]), 0)
    assert [one.shape for one in shapes] == [(1, 1), (1, 2)]


def test_an_array_like_that_numpy_cannot_read_is_told_by_column_and_type():
    with pytest.raises(ValueError, match=r"column 'x' from f .* Tensor of other.bool: masks are"):
        to_arrow([Tensor([True])], "x", "f")


@pytest.mark.usefixtures("inline")
def test_tensors_of_torch_are_stored_without_their_gradients():
    torch = pytest.importorskip("torch")
    ds = ray.data.range(4).map_batches(
        lambda batch: {"x": [torch.ones(1, 2, requires_grad=True) * int(n) for n in batch["id"]]}
    )
    assert ds.take_batch()["x"].tolist() == [[[n, n]] for n in range(4)]
    assert ds.map(lambda row: {"n": torch.tensor(row["x"]).sum()}).sum("n") == 12


def test_an_error_does_not_print_the_value_whole(monkeypatch):
    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context, "enable_fallback_to_arrow_object_ext_type", False)
    with pytest.raises(ValueError, match="column 'x' from f cannot be stored") as caught:
        to_arrow([["a" * 5000, 1], [{"b": "c" * 5000}]], "x", "f")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("columns", [1, 3, 150])
def test_rows_have_their_columns_whatever_they_are_called(columns):
    names = ["a'b", 'c"d\\', "__import__('os')", *(f"n{number}" for number in range(columns))]
    table = pa.table([[number, None] for number in range(len(names))], names=names)
    first, second = iter_rows(table)
    assert first == {name: number for number, name in enumerate(names)}
    assert second == dict.fromkeys(names)
    assert list(iter_rows(pa.table({}))) == []


def test_values_are_pythons_own_with_null_where_there_is_none():
    assert values_of(pa.chunked_array([[1, 2]])) == [1, 2]
    assert values_of(pa.chunked_array([["a", None]])) == ["a", None]
    assert type(values_of(pa.chunked_array([[True]]))[0]) is bool


def test_a_function_for_columns_is_made_once():
    assert row_maker(("a",)) is row_maker(("a",))


@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
)
def test_numbers_go_to_numpy_and_back_as_arrow_does_it(dtype):
    values = np.arange(10).astype(dtype)
    made = from_numbers(values)
    assert made.equals(pa.array(values))
    for part in (made, made.slice(3), made.slice(3, 4), made.slice(0, 0)):
        expected = part.to_numpy()
        got = to_numbers(part)
        assert got.dtype == expected.dtype
        assert got.tolist() == expected.tolist()
    assert not to_numbers(made).flags.writeable


def test_what_is_no_number_or_not_there_goes_as_arrow_does_it():
    for array in (pa.array([1, None]), pa.array([True, False]), pa.array(["a"]), pa.nulls(2)):
        expected = array.to_numpy(zero_copy_only=False)
        assert repr(to_numbers(array)) == repr(expected)


def test_numbers_are_sorted_and_handed_out_without_loading_pandas(tmp_path):
    pq.write_table(pa.table({"a": np.random.default_rng(0).random(5000), "b": np.arange(5000)}),
                   tmp_path / "x.parquet")  # fmt: skip
    code = (
        "import sys, heliostat as ray\n"
        "ds = ray.data.read_parquet(sys.argv[1]).sort('a')\n"
        "assert sum(len(b['a']) for b in ds.iter_batches(batch_size=300)) == 5000\n"
        "assert 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_tensors_of_which_some_are_missing_go_through_all_verbs():
    values = [np.full((2, 2), n) if n % 3 else None for n in range(7)]
    ds = ray.data.from_items([{"t": value, "n": n} for n, value in enumerate(values)])
    kind = pa.fixed_shape_tensor(pa.int64(), (2, 2))
    assert ds.schema().types == [kind, pa.int64()]
    for made, numbers in (
        (ds.random_shuffle(seed=1).sort("n"), range(7)),
        (ds.sort("n", descending=True), range(6, -1, -1)),
        (ds.map_batches(lambda batch: batch), range(7)),
        (ds.map_batches(lambda batch: batch, batch_format="pandas"), range(7)),
        (ds.map(lambda row: row), range(7)),
        (ds.sql("select * from ds where n > 2"), range(3, 7)),
    ):
        rows = made.take_all()
        assert [row["n"] for row in rows] == [*numbers]
        assert [row["t"] is None for row in rows] == [n % 3 == 0 for n in numbers]
        assert all(row["t"] is None or np.array_equal(row["t"], values[row["n"]]) for row in rows)
    (batch,) = ds.iter_batches()
    assert batch["t"].dtype == object
    assert batch["t"][0] is None
    assert batch["t"][1].tolist() == [[1, 1], [1, 1]]


def test_what_is_masked_is_null():
    array = np.ma.array([1, 2, 3], mask=[False, True, False])
    assert to_arrow(array, "a", "here").to_pylist() == [1, None, 3]
