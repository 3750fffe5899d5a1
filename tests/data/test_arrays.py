"""Columns between Arrow, numpy and pandas."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data.arrays import RaggedTensorType, ragged, to_arrow, to_numpy
from heliostat.data.block import concat, from_batch, iter_rows, take_rows, to_batch

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
