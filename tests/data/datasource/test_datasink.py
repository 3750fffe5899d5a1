"""Sinks that users write."""

import os

import pytest

import heliostat as ray
from heliostat.data.datasource import Datasink, RowBasedFileDatasink
from heliostat.data.datasource.filename_provider import FilenameProvider

pytestmark = pytest.mark.usefixtures("inline")


class Story(Datasink):
    def __init__(self, distributed=True, fail=None):
        self.told = []
        self.distributed = distributed
        self.fail = fail

    def on_write_start(self, schema=None):
        self.told.append(("start", None if schema is None else schema.names))

    def write(self, blocks, ctx):
        ids = [row for block in blocks for row in block.column("id").to_pylist()]
        if self.fail in ids:
            raise RuntimeError(f"cannot write {self.fail}")
        return ctx.task_idx, ids

    def on_write_complete(self, write_result):
        self.told.append(("complete", write_result.num_rows, write_result.write_returns))

    def on_write_failed(self, error):
        self.told.append(("failed", str(error)))

    @property
    def supports_distributed_writes(self):
        return self.distributed

    @property
    def min_rows_per_write(self):
        return 2


@pytest.mark.parametrize("distributed", [True, False])
def test_a_sink_is_told_of_beginning_and_end(distributed):
    sink = Story(distributed)
    ray.data.range(5, override_num_blocks=5).write_datasink(sink, concurrency=2)
    parts = [(0, [0, 1]), (1, [2, 3]), (2, [4])]
    assert sink.told == [("start", ["id"]), ("complete", 5, parts)]


@pytest.mark.parametrize("distributed", [True, False])
def test_a_sink_is_told_of_failures(distributed):
    sink = Story(distributed, fail=3)
    with pytest.raises(RuntimeError, match="cannot write 3"):
        ray.data.range(5).write_datasink(sink)
    assert [one[0] for one in sink.told] == ["start", "failed"]
    assert "cannot write 3" in sink.told[1][1]


def test_what_is_no_sink_is_named():
    with pytest.raises(TypeError, match="Datasink, got int"):
        ray.data.range(1).write_datasink(3)
    with pytest.raises(NotImplementedError, match="must define write"):
        ray.data.range(1).write_datasink(Datasink())


class Notes(RowBasedFileDatasink):
    def write_row_to_file(self, row, file):
        file.write(str(row["id"]).encode())


def test_rows_become_files_all_or_none(tmp_path):
    Notes_ = Notes(str(tmp_path / "out"), file_format="txt", mode="overwrite")
    for _ in range(2):
        ray.data.range(3).write_datasink(Notes_)
        assert len(os.listdir(tmp_path / "out")) == 3
    with pytest.raises(FileExistsError):
        ray.data.range(3).write_datasink(Notes(str(tmp_path / "out"), mode="error"))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        ray.data.range(3).write_datasink(Notes(str(tmp_path / "elsewhere"), try_create_dir=False))
    with pytest.raises(ValueError, match="upsert"):
        Notes(str(tmp_path), mode="upsert")
    with pytest.raises(TypeError, match="FilenameProvider"):
        Notes(str(tmp_path), filename_provider="x")
    assert os.listdir(tmp_path) == ["out"]


def test_a_store_without_renames_gets_whole_files(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    try:
        for mode, rows in (("append", 3), ("append", 6), ("overwrite", 3), ("ignore", 3)):
            ray.data.range(3).write_parquet("/bucket/out", filesystem=memory, mode=mode)
            ds = ray.data.read_parquet("/bucket/out", filesystem=memory)
            assert ds.count() == rows
        with pytest.raises(FileExistsError):
            ray.data.range(3).write_parquet("/bucket/out", filesystem=memory, mode="error")
        before = memory.find("/bucket/out")
        with pytest.raises(ZeroDivisionError):
            ray.data.range(3).map(lambda row: 1 // 0).write_csv("/bucket/out", filesystem=memory)
        assert memory.find("/bucket/out") == before
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_store_that_removes_nothing_keeps_what_is_new_and_what_was_there():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")

    class Keeps(type(memory)):
        cachable = False
        protocol = "memory"

        def rm(self, path, recursive=False, maxdepth=None):
            raise PermissionError("not allowed to remove")

    try:
        ray.data.range(3).write_parquet("/bucket/kept", filesystem=memory)
        with pytest.raises(OSError, match=r"new files in .* are complete, but . of what was there"):
            ray.data.range(2).write_parquet("/bucket/kept", filesystem=Keeps(), mode="overwrite")
        rows = ray.data.read_parquet("/bucket/kept", filesystem=memory).take_all()
        assert sorted(row["id"] for row in rows) == [0, 0, 1, 1, 2]
        ray.data.range(2).write_parquet("/bucket/kept", filesystem=memory, mode="overwrite")
        assert ray.data.read_parquet("/bucket/kept", filesystem=memory).count() == 2
    finally:
        memory.rm("/bucket", recursive=True)


def test_a_write_that_fails_removes_no_name_that_was_there_before():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")

    class Fixed(FilenameProvider):
        def get_filename_for_block(self, block, write_uuid, task_index, block_index):
            return f"{task_index}.csv"

    def fails_late(row):
        return {"id": 1 // (3 - row["id"])}

    try:
        for mode in ("append", "overwrite"):
            ds = ray.data.range(4, override_num_blocks=4)
            where = {"filesystem": memory, "filename_provider": Fixed(), "mode": mode}
            ds.write_csv("/bucket/fixed", **where)
            names = memory.find("/bucket/fixed")
            assert len(names) == 4
            with pytest.raises(ZeroDivisionError):
                ds.map(fails_late).write_csv("/bucket/fixed", **where)
            assert memory.find("/bucket/fixed") == names
            assert ray.data.read_csv("/bucket/fixed", filesystem=memory).count() == 4
    finally:
        memory.rm("/bucket", recursive=True)
