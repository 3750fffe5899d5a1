"""Ranges."""

from heliostat.data.datasource.range import RangeSource


def test_a_range_is_cut_into_equal_parts():
    parts = RangeSource(100, 3).read_tasks(1 << 20)
    assert [part.rows for part in parts] == [33, 33, 34]
    numbers = [n for part in parts for table in part.read() for n in table["id"].to_pylist()]
    assert numbers == list(range(100))


def test_a_range_without_its_column_still_counts():
    (part,) = RangeSource(2, 1).select(()).read_tasks(1 << 20)
    assert (part.rows, part.size_bytes) == (2, 16)
