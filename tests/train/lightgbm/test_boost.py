import numpy as np
import pyarrow as pa
import pytest

from heliostat.train.lightgbm._boost import matrix


@pytest.mark.parametrize(
    ("kinds", "dtype"),
    [
        ((pa.float32(), pa.int16()), "float32"),
        ((pa.float32(), pa.int32()), "float64"),
        ((pa.float64(),), "float64"),
    ],
)
def test_rows_are_of_the_smallest_type_that_holds_every_column(kinds, dtype):
    table = pa.table({str(i): pa.array([1, None, 3], kind) for i, kind in enumerate(kinds)})
    rows = matrix(table)
    assert rows.dtype == dtype
    assert rows.shape == (3, len(kinds))
    assert np.isnan(rows[1]).all()


def test_a_large_integer_is_exact_as_far_as_doubles_are():
    assert matrix(pa.table({"x": [2**53]}))[0, 0] == 2**53
