import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.data._states import halves
from heliostat.data.block import Bundle


def rows_of(items):
    return [row for item in items for row in item.table()["a"].to_pylist()]


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_halves_are_all_rows_in_order(sizes):
    items = [
        Bundle.of(pa.table({"a": [(i, j) for j in range(size)]})) for i, size in enumerate(sizes)
    ]
    parts = halves(items)
    if sum(sizes) == 1:
        assert parts is None
    else:
        first, second = parts
        assert rows_of([*first, *second]) == rows_of(items)
        assert abs(len(rows_of(first)) - len(rows_of(second))) <= 1


def test_what_is_not_there_is_not_halved():
    assert halves([object()]) is None
