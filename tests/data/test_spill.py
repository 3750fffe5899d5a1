import os

import pyarrow as pa
import pytest

from heliostat.data._spill import SpillFile, thrift
from heliostat.exceptions import OutOfDiskError


def test_blocks_come_back_as_they_were_in_any_order():
    tables = [
        pa.table({"a": [n] * n, "s": pa.array(["x"] * n).dictionary_encode()}) for n in (3, 5)
    ]
    with SpillFile() as file:
        extents = [file.write(table) for table in tables]
        assert file.size_bytes == sum(extent.size for extent in extents)
        for table, extent in reversed(list(zip(tables, extents, strict=True))):
            assert file.read(extent).equals(table)


def test_of_a_slice_only_its_rows_are_written():
    whole = pa.table({"a": range(100_000)})
    with SpillFile() as file:
        assert file.write(whole.slice(10, 10)).size < 2000


def test_the_file_has_no_name(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with SpillFile() as file:
        file.write(pa.table({"a": [1]}))
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_its_place(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with SpillFile() as file, pytest.raises(OutOfDiskError, match="TMPDIR"):
        file.write(pa.table({"a": [1]}))


def test_what_is_made_in_thrift_is_the_systems_until_the_last_one_leaves():
    own = pa.default_memory_pool().backend_name
    with thrift():
        with thrift():
            assert pa.default_memory_pool().backend_name == "system"
        assert pa.default_memory_pool().backend_name == "system"
    assert pa.default_memory_pool().backend_name == own
