"""Numpy's times as Arrow takes them: it knows seconds and finer, and days of dates."""

import datetime
import sys
from typing import Any

import numpy as np

_KNOWN = {"M": {"D", "s", "ms", "us", "ns", "generic"}, "m": {"s", "ms", "us", "ns", "generic"}}
# A month has no number of seconds.
_NO_TIME = {"M": set[str](), "m": {"Y", "M"}}


def in_known_units(array: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Times of other units (minutes, hours, months, ...) in seconds; any other array as it is.

    Example:
        >>> in_known_units(np.array(["2020-02"], "M8[M]"))
        array(['2020-02-01T00:00:00'], dtype='datetime64[s]')
    """
    kind = array.dtype.kind
    if kind not in _KNOWN:
        return array
    unit = np.datetime_data(array.dtype)[0]
    if unit in _KNOWN[kind] or unit in _NO_TIME[kind]:
        return array
    return array.astype(f"{kind}8[s]")


def as_times(column: Any) -> Any:
    """A list of numpy's times, some of them None, as one array; of Python's without pandas' NaT.

    Example:
        >>> as_times([np.datetime64("2020-02-01"), None])
        array(['2020-02-01',        'NaT'], dtype='datetime64[D]')
    """
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column
    first = next((value for value in column if value is not None), None)
    if isinstance(first, datetime.date | datetime.timedelta):
        # Pandas' NaT is one of Python's times, of which Arrow would make a day of the year 1.
        nat = getattr(sys.modules.get("pandas"), "NaT", None)
        return column if nat is None else [None if one is nat else one for one in column]
    if not isinstance(first, np.datetime64 | np.timedelta64):
        return column
    if not all(value is None or type(value) is type(first) for value in column):
        return column
    try:
        return np.array(column, f"{first.dtype.kind}8")
    except TypeError:
        return column  # months and hours have no unit in common
