import pandas as pd
import pytest

from heliostat.train.lightgbm import normalize_pandas_for_lightgbm


@pytest.mark.parametrize(
    ("arrow", "own"),
    [
        ("int8[pyarrow]", "Int8"),
        ("uint32[pyarrow]", "UInt32"),
        ("float[pyarrow]", "Float32"),
        ("double[pyarrow]", "Float64"),
        ("bool[pyarrow]", "boolean"),
    ],
)
def test_columns_backed_by_arrow_become_pandas_own(arrow, own):
    frame = normalize_pandas_for_lightgbm(pd.DataFrame({"x": pd.Series([1, None], dtype=arrow)}))
    assert str(frame["x"].dtype) == own
    assert frame["x"].isna().tolist() == [False, True]


def test_what_is_pandas_own_or_no_number_stays():
    frame = pd.DataFrame({"a": [1], "b": pd.Series(["x"], dtype="string[pyarrow]")})
    assert normalize_pandas_for_lightgbm(frame) is frame
