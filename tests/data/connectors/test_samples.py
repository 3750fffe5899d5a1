"""Rows that are made up, and a sink that counts them."""

import sqlite3
import typing

import pytest

from heliostat import data
from heliostat.data.datasource import (
    Connection,
    DummyOutputDatasink,
    RandomIntRowDatasource,
    WriteReturnType,
)


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_as_many_rows_and_columns_as_said_and_no_two_alike(inline, rows):
    source = RandomIntRowDatasource(rows, 3)
    assert source.estimate_inmemory_data_size() == rows * 24
    found = data.read_datasource(source).take_all()
    assert len(found) == rows
    assert len({number for row in found for number in row.values()}) == rows * 3
    assert {tuple(row) for row in found} <= {("c_0", "c_1", "c_2")}


def test_tasks_share_the_rows():
    tasks = RandomIntRowDatasource(10, 1).get_read_tasks(4)
    assert [task.rows for task in tasks] == [2, 3, 2, 3]
    assert sum(block.num_rows for task in tasks for block in task()) == 10


@pytest.mark.parametrize("wrong", [(-1, 1), (1, 0)])
def test_no_columns_are_refused(wrong):
    with pytest.raises(ValueError, match="num_columns >= 1"):
        RandomIntRowDatasource(*wrong)


def test_a_sink_counts_what_went_well_and_what_did_not(inline):
    sink = DummyOutputDatasink()
    data.range(10).repartition(3).write_datasink(sink)
    data.range(5).write_datasink(sink)
    assert (sink.num_ok, sink.num_failed, sink.rows_written) == (2, 0, 15)
    sink.enabled = False
    with pytest.raises(ValueError, match="disabled"):
        data.range(10).write_datasink(sink)
    assert (sink.num_ok, sink.num_failed, sink.rows_written) == (2, 1, 15)


def test_names_for_annotations(tmp_path, inline):
    def connect() -> Connection:
        return sqlite3.connect(tmp_path / "rows.db")

    connect().cursor().execute("CREATE TABLE t AS SELECT 1 AS a").connection.close()
    assert data.read_sql("SELECT * FROM t", connect).take_all() == [{"a": 1}]
    assert isinstance(WriteReturnType, typing.TypeVar)
