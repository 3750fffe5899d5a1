import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.data._deal import Deal
from heliostat.data.block import Bundle


def dealt(sizes, parts, *, equal):
    deal = Deal(parts, equal=equal)
    start = 0
    for size in sizes:
        deal.put(Bundle.of(pa.table({"a": range(start, start + size)})))
        start += size
    deal.end()
    return [rows_of(deal, part) for part in range(parts)]


def rows_of(deal, part):
    rows = []
    while (bundle := deal.take(part)) is not None:
        rows += bundle.table()["a"].to_pylist()
    return rows


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 5))
def test_every_row_goes_to_one_part_and_all_are_even(sizes, parts):
    made = dealt(sizes, parts, equal=False)
    assert sorted(row for part in made for row in part) == list(range(sum(sizes)))
    lengths = [len(part) for part in made]
    assert max(lengths) - min(lengths) <= 1
    assert all(part == sorted(part) for part in made)


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 5))
def test_equal_parts_leave_out_the_last_rows_only(sizes, parts):
    made = dealt(sizes, parts, equal=True)
    assert [len(part) for part in made] == [sum(sizes) // parts] * parts


def test_all_have_as_many_rows_at_any_moment():
    deal = Deal(2, equal=True)
    deal.put(Bundle.of(pa.table({"a": [1, 2, 3]})))
    assert [deal.take(part).rows for part in (0, 1)] == [1, 1]
    assert deal.take(0) is None


def test_who_has_left_is_dealt_nothing_and_the_last_ends_it():
    deal = Deal(2, equal=True)
    deal.put(Bundle.of(pa.table({"a": [1, 2]})))
    assert not deal.leave(0)
    deal.put(Bundle.of(pa.table({"a": [3, 4]})))
    assert deal.take(0) is None
    assert rows_of(deal, 1) == [2, 4]
    assert deal.leave(1)


@pytest.mark.parametrize("equal", [True, False])
def test_no_rows_are_dealt_to_nobody(equal):
    assert dealt([0, 0], 3, equal=equal) == [[], [], []]
