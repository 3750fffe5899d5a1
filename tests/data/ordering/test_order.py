import math

import numpy as np
import pyarrow as pa
import pytest

from heliostat.data._ordering.order import as_numbers, is_searched, sort_order


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("kind", ["int64", "uint32", "float64", "float32"])
def test_numbers_that_are_nearly_all_different_are_sorted_stably(kind, down):
    rng = np.random.default_rng(1)
    values = (rng.random(20_000) * 40_000).astype(kind)
    if kind.startswith("float"):
        values[rng.integers(0, 20_000, 50)] = np.nan
        values[rng.integers(0, 20_000, 50)] *= 0.0
    got = sort_order([pa.chunked_array([values])], [down])
    column = [(-v if down else v) for v in values.tolist()]
    key = [(math.isnan(v), 0 if math.isnan(v) else v) for v in column]
    assert got.tolist() == sorted(range(len(values)), key=lambda row: key[row])


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.float32(), pa.date32(), pa.time64("us"), pa.timestamp("s")]
)
def test_numbers_are_in_the_order_of_their_values(kind, down):
    assert is_searched(kind)
    numbers = as_numbers(pa.chunked_array([pa.array([5, 0, 90], kind)]), down)
    assert np.argsort(numbers).tolist() == ([2, 0, 1] if down else [1, 0, 2])


def test_nan_comes_last_in_both_directions():
    column = pa.array([math.nan, 1.0, 2.0])
    assert [np.argsort(as_numbers(column, down)).tolist() for down in (False, True)] == [
        [1, 2, 0],
        [2, 1, 0],
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.bool_(), pa.month_day_nano_interval()])
def test_what_has_no_number_is_not_searched(kind):
    assert not is_searched(kind)


def test_values_without_an_order_are_named():
    with pytest.raises(TypeError, match="values of type struct<a: int64> have no order"):
        sort_order([pa.chunked_array([[{"a": 2}, {"a": 1}]])], [False])
