"""Functions on blocks, and the handles that travel."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heliostat
from heliostat.data._deal import split_at
from heliostat.data.block import (
    Bundle,
    Cell,
    check_batch_format,
    compact,
    concat,
    from_batch,
    from_rows,
    iter_rows,
    take_rows,
    to_batch,
)
from heliostat.exceptions import ObjectLostError

EVERY_KIND = {
    "int": [1, 2, None],
    "float": [0.5, None, 2.0],
    "bool": [True, None, False],
    "text": ["a", None, "c"],
    "list": [[1], [1, 2], []],
    "struct": [{"x": 1}, {"x": 2}, {"x": 3}],
}


@pytest.mark.parametrize("name", EVERY_KIND)
@pytest.mark.parametrize("form", ["numpy", "pandas", "pyarrow"])
def test_every_kind_of_column_survives_every_format(name, form):
    table = pa.table({name: EVERY_KIND[name]})
    again = from_batch(to_batch(table, form))
    assert again.num_rows == 3
    assert [value for value in again.column(name).to_pylist() if value == value] == [
        value
        for value in table.column(name).to_pylist()
        if value is not None or form != "numpy" or name not in ("int", "float")
    ]


def test_tensors_survive_every_format_and_slices():
    images = np.arange(24.0).reshape(4, 2, 3)
    table = from_batch({"image": images, "n": [0, 1, 2, 3]})
    for form in ("numpy", "pandas", "pyarrow"):
        again = to_batch(from_batch(to_batch(table.slice(1, 2), form)), "numpy")
        np.testing.assert_array_equal(again["image"], images[1:3])
    assert [row["image"].shape for row in iter_rows(table)] == [(2, 3)] * 4
    np.testing.assert_array_equal(
        to_batch(take_rows(table, np.array([3, 0])), "numpy")["image"], images[[3, 0]]
    )
    assert to_batch(table.slice(0, 0), "numpy")["image"].shape == (0, 2, 3)


def test_numbers_are_not_copied_unless_they_may_be_changed():
    table = pa.table({"a": np.arange(5)})
    assert not to_batch(table, "numpy")["a"].flags.writeable
    assert to_batch(table, "numpy", writable=True)["a"].flags.writeable


def test_pandas_metadata_does_not_bring_back_an_index():
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    assert to_batch(pa.Table.from_pandas(frame), "pandas").index.tolist() == [0, 1]


def test_unknown_formats_are_refused():
    assert [check_batch_format(form) for form in ("default", None, "pandas")] == [
        "numpy",
        "pyarrow",
        "pandas",
    ]
    with pytest.raises(ValueError, match="got 'cudf'"):
        check_batch_format("cudf")


def test_frames_with_repeated_columns_are_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(ValueError, match="are named"):
        from_batch(frame)


def test_rows_that_lack_a_column_have_null_there():
    assert from_rows([{"a": 1}, {"b": 2}]).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": 2}]


def test_blocks_are_joined_with_promotion_or_not_at_all():
    assert concat([]).num_rows == 0
    assert concat([pa.table({"a": [1]}), pa.table({"a": [None]})]).column("a").to_pylist() == [
        1,
        None,
    ]
    with pytest.raises(ValueError, match="do not fit together"):
        concat([pa.table({"a": [1]}), pa.table({"a": ["x"]})])


def test_a_slice_is_freed_of_the_table_it_was_cut_from():
    table = pa.table({"a": np.arange(100_000), "s": ["some text"] * 100_000})
    small = compact(table.slice(50_000, 3))
    assert small.equals(table.slice(50_000, 3))
    assert small.get_total_buffer_size() < 5000
    assert compact(table) is table


@given(sizes=st.lists(st.integers(0, 9), max_size=5), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_cutting_keeps_every_row_once_and_in_order(sizes, cuts):
    start, bundles = 0, []
    for size in sizes:
        bundles.append(Bundle.of(pa.table({"a": np.arange(start, start + size)})))
        start += size
    cuts = sorted(cuts)
    parts = split_at(bundles, cuts)
    rows = [[row for one in part for row in one.table()["a"].to_pylist()] for part in parts]
    edges = [0, *(min(cut, start) for cut in cuts), start]
    assert rows == [list(range(a, b)) for a, b in itertools.pairwise(edges)]


def test_a_view_of_a_view_counts_from_the_whole():
    bundle = Bundle.of(pa.table({"a": range(10)})).view(2, 6).view(1, 3)
    assert bundle.table()["a"].to_pylist() == [3, 4, 5]
    assert bundle.size_bytes == 24


def test_without_a_session_a_block_travels_by_value():
    heliostat.shutdown()
    bundle = Bundle.of(pa.table({"a": np.arange(100_000)})).view(5, 2)
    again = pickle.loads(pickle.dumps(bundle))
    assert again.table().equals(bundle.table())
    assert not heliostat.is_initialized()


def test_rows_of_a_session_that_ended_are_an_error_and_no_hang(inline):
    cell = Cell(pa.table({"a": np.arange(100_000)}))
    cell.share()
    heliostat.shutdown()
    with pytest.raises(ObjectLostError, match="a session that has ended"):
        cell.table()
    heliostat.init(engine="inline")
    with pytest.raises(ObjectLostError, match="a session that has ended"):
        cell.share()


def test_with_a_session_a_large_block_travels_through_the_store_once(inline):
    cell = Cell(pa.table({"a": np.arange(100_000)}))
    sent = pickle.dumps(cell)
    assert len(sent) < 10_000
    assert cell.share() is cell.share()
    assert not cell.is_local
    assert pickle.loads(sent).table().equals(cell.table())


def test_lists_stay_lists_whatever_their_lengths_in_a_batch():
    like = pa.schema([("l", pa.list_(pa.int64()))])
    for batch in ({"l": [np.arange(2), np.arange(2)]}, {"l": [np.arange(1), np.arange(2)]}):
        assert from_batch(batch, "a test", like).schema.field("l").type == pa.list_(pa.int64())
    texts = from_batch({"l": [np.array(["a"], object), np.array(["b"], object)]})
    assert texts.column("l").to_pylist() == [["a"], ["b"]]
