"""Columns of any objects: they go through all that Data does, and a stranger's are not unpickled."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat
from heliostat import data
from heliostat.data.extensions import (
    ArrowPythonObjectArray,
    ArrowPythonObjectScalar,
    ArrowPythonObjectType,
    PythonObjectArray,
    PythonObjectDtype,
    _objects,
)

OBJECTS = [{1, 2}, [3, [4]], None, "text", complex(1, 2)]


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    heliostat.init(num_cpus=2, log_to_driver=False)
    yield
    heliostat.shutdown()


def table():
    column = ArrowPythonObjectArray.from_objects(OBJECTS)
    return pa.table({"o": column, "n": range(len(OBJECTS))})


def test_objects_are_a_column_and_its_values():
    column = ArrowPythonObjectArray.from_objects(np.array(OBJECTS, object))
    assert isinstance(column, ArrowPythonObjectArray)
    assert column.type == ArrowPythonObjectType()
    assert isinstance(column[0], ArrowPythonObjectScalar)
    assert column.to_pylist() == OBJECTS
    assert list(column.to_numpy()) == OBJECTS
    with pytest.raises(pa.ArrowInvalid, match="zero_copy_only=False"):
        column.to_numpy(zero_copy_only=True)
    missing = pa.ExtensionArray.from_storage(column.type, pa.array([None], pa.large_binary()))
    assert missing.to_pylist() == [None]


@pytest.mark.parametrize("blocks", [1, 3])
def test_they_go_through_all_kinds_of_batches(inline, blocks):
    dataset = data.from_arrow(table()).repartition(blocks).sort("n")
    assert [row["o"] for row in dataset.take_all()] == OBJECTS
    for kind in ("pandas", "pyarrow"):
        seen = dataset.map_batches(lambda batch: batch, batch_format=kind, batch_size=5)
        assert [row["o"] for row in seen.take_all()] == OBJECTS, kind
    names = dataset.map_batches(lambda batch: {"n": [str(one) for one in batch["o"]]}, batch_size=5)
    assert [row["n"] for row in names.take_all()] == list(map(str, OBJECTS))
    assert list(dataset.take_batch(5)["o"]) == OBJECTS
    assert list(dataset.to_pandas()["o"]) == OBJECTS


def test_they_reach_other_processes(local):
    shuffled = data.from_arrow(table()).random_shuffle().filter(lambda row: row["o"] != 5).sort("n")
    assert [row["o"] for row in shuffled.take_all()] == OBJECTS


def test_a_batch_of_several_chunks_has_the_objects_too(inline):
    once = pa.table({"o": ArrowPythonObjectArray.from_objects(OBJECTS)})
    assert list(data.from_arrow([once, once]).take_batch(10)["o"]) == OBJECTS * 2
    [batch] = data.from_arrow([once, once]).iter_batches(batch_size=10)
    assert list(batch["o"]) == OBJECTS * 2


def test_a_function_says_that_its_objects_are_some(inline):
    dataset = data.from_arrow(table())
    for made in (list, PythonObjectArray, ArrowPythonObjectArray.from_objects):
        again = dataset.map_batches(lambda batch, made=made: {"o": made(list(batch["o"]))})
        assert [row["o"] for row in again.take_all()] == OBJECTS


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def test_a_stranger_s_objects_are_not_unpickled(inline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (pickle.dumps(Bomb()), bytes(32) + pickle.dumps(Bomb()), b""):
        storage = pa.array([content], pa.large_binary())
        column = pa.ExtensionArray.from_storage(ArrowPythonObjectType(), storage)
        pq.write_table(pa.table({"o": column, "n": [1]}), "file.parquet")
        with pytest.raises(ValueError, match=r"read_parquet: column 'o' holds pickled objects"):
            data.read_parquet("file.parquet")
        assert data.read_parquet("file.parquet", columns=["n"]).take_all() == [{"n": 1}]
        with pytest.raises(ValueError, match="were not written by this user"):
            data.from_arrow(pq.read_table("file.parquet")).take_all()
    assert not os.path.exists("exploded")


def test_no_file_is_given_objects_but_by_who_trusts_its_readers(inline, tmp_path, monkeypatch):
    ds, there = data.from_arrow(table()), str(tmp_path / "there")
    with pytest.raises(ValueError, match=r"write_parquet: column 'o' holds pickled objects"):
        ds.write_parquet(there)
    with pytest.raises(ValueError, match=r"write_orc: column 'o' holds pickled objects"):
        ds.write_orc(there)
    with pytest.raises(ValueError, match=r"a table: column 'o' holds pickled objects"):
        ds.write_lance(there)
    assert not os.path.exists(there)
    monkeypatch.setenv("RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR", "1")
    ds.write_parquet(there)
    assert [row["o"] for row in data.read_parquet(there).take_all()] == OBJECTS


def test_who_trusts_a_file_says_so(monkeypatch):
    sealed = bytes(32) + pickle.dumps([1])
    with pytest.raises(ValueError, match="RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR=1"):
        _objects._opened(sealed)
    monkeypatch.setenv("RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR", "1")
    assert _objects._opened(sealed) == [1]


def test_a_column_that_only_says_that_it_holds_objects_is_refused():
    with pytest.raises(pa.ArrowInvalid, match="says that it holds objects"):
        ArrowPythonObjectType.__arrow_ext_deserialize__(pa.int64(), b"")


def test_processes_share_the_key_of_the_user_and_nobody_else_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))
    program = "from heliostat.data.extensions import _objects; print(_objects._key().hex())"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert len({process.communicate()[0] for process in started}) == 1
    [file] = (tmp_path / "objects").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_pandas_holds_objects_and_gives_them_to_arrow(inline):
    frame = pd.DataFrame({"o": PythonObjectArray(OBJECTS)})
    assert frame["o"].dtype == PythonObjectDtype()
    assert pa.Table.from_pandas(frame).column("o").type == ArrowPythonObjectType()
    assert pa.Table.from_pandas(frame).to_pandas()["o"].dtype == PythonObjectDtype()
    assert [row["o"] for row in data.from_pandas(frame).take_all()] == OBJECTS


def test_a_column_of_objects_is_chosen_from_set_and_put_together():
    series = pd.Series(PythonObjectArray(OBJECTS))
    assert list(series[series.index > 2]) == OBJECTS[3:]
    assert list(series.iloc[::-1]) == OBJECTS[::-1]
    assert series.isna().tolist() == [False, False, True, False, False]
    assert list(pd.concat([series, series])) == OBJECTS * 2
    assert (series.array == series.array.copy()).all()
    assert (series == series).all()
    assert series.reindex([0, 9]).isna().tolist() == [False, True]
    series.array[0] = {"new": 1}
    assert series[0] == {"new": 1}
    assert series.array.nbytes == 8 * len(OBJECTS)
    assert list(pd.array([{1}], dtype="python_object()")) == [{1}]
    with pytest.raises(TypeError, match="Cannot construct a 'PythonObjectDtype' from 'object'"):
        PythonObjectDtype.construct_from_string("object")


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


def test_values_that_arrow_has_no_type_for_go_through_a_pipeline_as_they_are(caplog):
    heliostat.shutdown()
    heliostat.init(num_cpus=2, log_to_driver=False)
    ds = data.from_items([{"k": n % 2, "o": Point(n)} for n in range(6)])
    assert caplog.text.count("column 'o' from the rows is kept as pickled objects") == 1
    made = ds.map(lambda row: {**row, "t": (row["k"], str(row["o"].x))}, num_cpus=1)
    rows = made.repartition(3).random_shuffle(seed=1).sort("k").take_all()
    assert {row["o"].x: row["t"] for row in rows} == {n: (n % 2, str(n)) for n in range(6)}
    assert next(iter(ds.iter_batches()))["o"].tolist() == [Point(n) for n in range(6)]
    assert ds.filter(lambda row: row["o"].x > 4).take_all() == [{"k": 1, "o": Point(5)}]
    assert ds.filter(expr="k == 1").count() == 3
    assert data.from_items([(1, "a"), None, {1}]).take(2) == [
        {"item": (1, "a")},
        {"item": None},
    ]
    assert data.from_items([2**70, 1]).take_all() == [{"item": 2**70}, {"item": 1}]


@pytest.mark.usefixtures("inline")
def test_a_column_of_objects_in_one_block_makes_it_one_in_all():
    ds = data.range(4, override_num_blocks=2).map(
        lambda row: {"o": row["id"] if row["id"] < 2 else Point(row["id"])}
    )
    assert next(iter(ds.iter_batches(batch_size=4)))["o"].tolist() == [0, 1, Point(2), Point(3)]
    none_first = data.range(2).map(lambda row: {"o": Point(1) if row["id"] else None})
    assert none_first.take_all() == [{"o": None}, {"o": Point(1)}]


@pytest.mark.usefixtures("inline")
def test_what_no_step_can_do_with_objects_is_said(monkeypatch):
    ds = data.from_items([{"k": 1, "o": Point(1)}, {"k": 2, "o": Point(2)}])
    with pytest.raises(TypeError, match="have no order to sort by"):
        ds.sort("o").take_all()
    with pytest.raises(TypeError, match=r"min\(o\) needs values with an order"):
        ds.min("o")
    with pytest.raises(
        ValueError, match=r"column 'item' .* cannot be stored.*nor can it be pickled"
    ):
        data.from_items([(one for one in [])])
    monkeypatch.setattr(
        data.DataContext.get_current(), "enable_fallback_to_arrow_object_ext_type", False
    )
    with pytest.raises(ValueError, match=r"cannot be stored.*one type that Arrow knows"):
        data.from_items([Point(1)])


def test_sql_passes_objects_and_tensors_on(local):
    ds = data.from_items([{"a": 1, "o": {1, 2}}, {"a": 2, "o": None}, {"a": 3, "o": (1, "x")}])
    found = ds.sql("select o as same, a from ds where o is not null order by a desc")
    assert found.take_all() == [{"same": (1, "x"), "a": 3}, {"same": {1, 2}, "a": 1}]
    assert ds.sql("select list(o order by a) as l from ds").take_all() == [
        {"l": [{1, 2}, None, (1, "x")]}
    ]
    tensors = data.from_numpy(np.arange(8).reshape(2, 2, 2))
    assert tensors.sql("select data from ds").schema() == tensors.schema()
    (last,) = tensors.sql("select data, data[4] as four from ds where data[1] > 0").take_all()
    assert last["data"].tolist() == [[4, 5], [6, 7]]
    assert last["four"] == 7
