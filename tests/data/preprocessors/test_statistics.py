"""Numbers from one pass."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data.preprocessors._statistics import Moments, count_values, quantiles

numbers = st.lists(st.floats(-1e6, 1e6), max_size=20)


@given(st.lists(numbers, max_size=5))
def test_moments_of_parts_are_those_of_the_whole(parts):
    state = Moments()
    for part in parts:
        state.add(np.array(part))
    whole = np.array([value for part in parts for value in part])
    assert state.count == len(whole)
    if len(whole):
        assert state.mean == pytest.approx(whole.mean(), abs=1e-6)
        assert state.std == pytest.approx(whole.std(), abs=1e-4)
        assert (state.low, state.high) == (whole.min(), whole.max())


@pytest.mark.usefixtures("inline")
def test_quantiles_and_counts_leave_out_or_count_nulls():
    ds = ray.data.from_arrow([pa.table({"a": [1, None]}), pa.table({"a": [3, 3]})])
    assert quantiles(ds, ["a"], (0.0, 0.5), "test") == {"a": [1.0, 3.0]}
    assert dict(count_values(ds, ["a"], "test")["a"]) == {1: 1, None: 1, 3: 2}
