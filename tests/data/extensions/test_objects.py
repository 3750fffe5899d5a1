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


def test_they_reach_other_processes_and_files(local, tmp_path):
    shuffled = data.from_arrow(table()).random_shuffle().filter(lambda row: row["o"] != 5).sort("n")
    assert [row["o"] for row in shuffled.take_all()] == OBJECTS
    shuffled.write_parquet(str(tmp_path / "there"))
    back = data.read_parquet(str(tmp_path / "there")).sort("n").take_all()
    assert [row["o"] for row in back] == OBJECTS


def test_a_batch_of_several_chunks_has_the_objects_too(inline):
    once = pa.table({"o": ArrowPythonObjectArray.from_objects(OBJECTS)})
    assert list(data.from_arrow([once, once]).take_batch(10)["o"]) == OBJECTS * 2
    [batch] = data.from_arrow([once, once]).iter_batches(batch_size=10)
    assert list(batch["o"]) == OBJECTS * 2


def test_a_function_says_that_its_objects_are_some(inline):
    dataset = data.from_arrow(table())
    with pytest.raises(ValueError, match="Give all its values one type"):
        dataset.map_batches(lambda batch: {"o": list(batch["o"])}).take_all()
    for made in (PythonObjectArray, ArrowPythonObjectArray.from_objects):
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
        pq.write_table(pa.table({"o": column}), "file.parquet")
        with pytest.raises(ValueError, match="were not written by this user"):
            data.read_parquet("file.parquet").take_all()
    assert not os.path.exists("exploded")


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
