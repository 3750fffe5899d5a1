"""Columns of pandas that LightGBM does not take as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

# Arrow's names of types, and the prefixes of pandas' own that can hold a missing value.
_INTEGER = re.compile(r"(u?)int(8|16|32|64)$")
_FLOAT = {"float": "Float32", "double": "Float64", "halffloat": "Float32"}


def normalize_pandas_for_lightgbm(df: pd.DataFrame) -> pd.DataFrame:
    """Give columns that are backed by Arrow the like type of pandas' own, which LightGBM reads.

    Args:
        df: What a dataset's `to_pandas` gave.

    Returns:
        A frame whose numbers and booleans LightGBM reads; other columns are as they were.

    Example:
        >>> import pandas as pd
        >>> df = pd.DataFrame({"x": pd.Series([1, None], dtype="int32[pyarrow]"), "y": [0.5, 1.5]})
        >>> [str(kind) for kind in normalize_pandas_for_lightgbm(df).dtypes]
        ['Int32', 'float64']
    """
    kinds = {}
    for name, dtype in df.dtypes.items():
        arrow = getattr(dtype, "pyarrow_dtype", None)
        kind = None if arrow is None else _own(str(arrow))
        if kind is not None:
            kinds[name] = kind
    return df.astype(kinds) if kinds else df


def _own(arrow: str) -> str | None:
    whole = _INTEGER.match(arrow)
    if whole is not None:
        return f"{whole[1].upper()}Int{whole[2]}"
    return "boolean" if arrow == "bool" else _FLOAT.get(arrow)
