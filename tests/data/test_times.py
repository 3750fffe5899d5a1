"""Numpy's times: values and arrays of every unit become Arrow's."""

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data.block import from_batch, from_rows

T = np.datetime64
UNITS = [
    (T("2020-02-01"), pa.date32(), date(2020, 2, 1)),
    (T("2020-02"), pa.timestamp("s"), datetime(2020, 2, 1)),
    (T("2020"), pa.timestamp("s"), datetime(2020, 1, 1)),
    (T("2020-02-01T07"), pa.timestamp("s"), datetime(2020, 2, 1, 7)),
    (T("2020-02-01T07:05:01.5"), pa.timestamp("ms"), datetime(2020, 2, 1, 7, 5, 1, 500_000)),
    (np.timedelta64(2, "D"), pa.duration("s"), timedelta(2)),
    (np.timedelta64(3, "h"), pa.duration("s"), timedelta(hours=3)),
    (np.timedelta64(3, "us"), pa.duration("us"), timedelta(microseconds=3)),
]


@pytest.mark.parametrize(("value", "kind", "expected"), UNITS)
def test_times_of_any_unit_are_columns_of_times(value, kind, expected):
    table = from_rows([{"t": value}, {"t": None}, {"t": value.dtype.type("NaT")}])
    assert table.schema.field("t").type == kind
    assert table["t"].to_pylist() == [expected, None, None]
    table = from_batch({"t": np.array([value, value])})
    assert table.schema.field("t").type == kind
    assert table["t"].to_pylist() == [expected, expected]


def test_tensors_of_times_are_of_seconds():
    rows = [{"t": np.array([["2020-02", "2020-03"]], "M8[M]")}] * 2
    assert from_rows(rows).schema.field("t").type.value_type == pa.timestamp("s")


def test_what_has_no_unit_in_common_stays_as_it_is(caplog):
    values = [np.timedelta64(1, "Y"), np.timedelta64(1, "D")]
    assert from_rows([{"t": value} for value in values])["t"].to_pylist() == values
    assert from_rows([{"t": UNITS[0][0]}, {"t": "x"}])["t"].to_pylist() == [UNITS[0][0], "x"]
    assert "pickled objects" in caplog.text


@pytest.mark.usefixtures("inline")
def test_a_row_may_give_a_day():
    ds = ray.data.range(2).map(lambda row: {"d": np.datetime64("2020-01-31") + row["id"]})
    assert ds.sort("d", descending=True).take(1) == [{"d": date(2020, 2, 1)}]


def test_a_time_of_pandas_that_is_none_is_null():
    day, time, span = date(2024, 1, 2), pd.Timestamp("2024-01-02"), pd.Timedelta("1s")
    for value in (day, time, span):
        for values in ([value, pd.NaT], [pd.NaT, value], [None, pd.NaT, value]):
            got = ray.data.from_items([{"t": one} for one in values]).take_all()
            assert [row["t"] for row in got] == [None if one is pd.NaT else one for one in values]
    assert ray.data.from_items([{"t": pd.NaT}]).take_all() == [{"t": None}]
