"""Where datasets begin."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_items_become_rows():
    assert ray.data.from_items([1, "x"][:1]).take_all() == [{"item": 1}]
    rows = [{"a": 1}, {"a": None, "b": [1, 2]}]
    assert ray.data.from_items(rows).take_all() == [{"a": 1, "b": None}, {"a": None, "b": [1, 2]}]


def test_items_of_no_common_type_are_objects_and_the_column_is_named(caplog):
    assert ray.data.from_items([{"mixed": 1}, {"mixed": "x"}]).take_all() == [
        {"mixed": 1},
        {"mixed": "x"},
    ]
    assert "column 'mixed' from the rows is kept as pickled objects" in caplog.text


def test_frames_tables_and_arrays_are_taken_as_they_are():
    frame = pd.DataFrame({"a": [1, 2], "t": pd.to_datetime(["2020-01-01", None])}, index=[7, 8])
    assert ray.data.from_pandas([frame, frame]).count() == 4
    assert ray.data.from_pandas(frame).columns() == ["a", "t"]
    table = pa.table({"a": [1]})
    assert ray.data.from_arrow(table).take_batch(batch_format="pyarrow").equals(table)
    assert ray.data.from_numpy([np.ones(2), np.zeros(1)]).take_batch()["data"].tolist() == [1, 1, 0]
    assert ray.data.from_blocks([table, frame[["a"]]]).num_blocks() == 2
    with pytest.raises(TypeError, match=r"from_arrow needs pyarrow Tables .*, got dict"):
        ray.data.from_arrow([{"a": 1}])


def test_ragged_arrays_become_lists():
    ds = ray.data.from_items([{"v": np.arange(2)}, {"v": np.arange(3)}])
    assert ds.take_all() == [{"v": [0, 1]}, {"v": [0, 1, 2]}]


def test_a_range_counts():
    assert ray.data.range(0).take_all() == []
    assert ray.data.range(5, override_num_blocks=2).materialize().num_blocks() == 2
    with pytest.raises(ValueError, match="n >= 0"):
        ray.data.range(-1)


def test_blocks_can_be_asked_for():
    assert ray.data.from_items(list(range(10)), override_num_blocks=3).num_blocks() == 3


def test_what_reading_does_not_offer_is_said(parquet):
    with pytest.raises(NotImplementedError, match="include_row_hash=True"):
        ray.data.read_parquet(parquet, include_row_hash=True)
    with pytest.raises(TypeError, match="'zz'"):
        ray.data.read_parquet(parquet, zz=1)


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        (lambda: ray.data.range("10"), TypeError, "whole number of rows, got '10'"),
        (lambda: ray.data.range_tensor(1.5), TypeError, "whole number of rows, got 1.5"),
        (lambda: ray.data.from_items(5), TypeError, "a list of values or rows, got 5"),
        (lambda: ray.data.range(3).union([1]), TypeError, r"union: \[1\] is not a Dataset"),
        (lambda: ray.data.range(3).mix(4), TypeError, "mix: 4 is not a Dataset"),
        (lambda: ray.data.range(3).write_csv("x", mode="overwrit"), ValueError, "one of .*'error'"),
    ],
)
def test_what_a_hurried_user_writes_is_named(wrong, kind, says):
    with pytest.raises(kind, match=says):
        wrong()


def test_columns_of_several_names_are_no_array():
    with pytest.raises(
        TypeError, match=r"needs an array or a list of arrays, got dict.*from_arrow"
    ):
        ray.data.from_numpy({"a": np.arange(3)})
