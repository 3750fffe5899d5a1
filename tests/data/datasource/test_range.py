"""Ranges."""

from heliostat.data.datasource.range import RangeSource, TensorRangeSource


def test_a_range_is_cut_into_equal_parts():
    parts = RangeSource(100, 3).read_tasks(1 << 20)
    assert [part.rows for part in parts] == [33, 33, 34]
    numbers = [n for part in parts for table in part.read() for n in table["id"].to_pylist()]
    assert numbers == list(range(100))


def test_a_range_without_its_column_still_counts():
    (part,) = RangeSource(2, 1).select(()).read_tasks(1 << 20)
    assert (part.rows, part.size_bytes) == (2, 16)


def test_tensors_are_filled_with_their_number():
    parts = TensorRangeSource(5, (2, 3), 2).read_tasks(1 << 20)
    assert [part.rows for part in parts] == [2, 3]
    tensors = [t for part in parts for table in part.read() for t in table["data"].to_numpy()]
    assert [set(tensor.tolist()) for tensor in tensors] == [{n} for n in range(5)]
    assert TensorRangeSource(5, (2,)).head(3).rows == 3
