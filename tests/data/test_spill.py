import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heliostat.data import _spill
from heliostat.data._spill import Gathered, SpillFile, thrift
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


@pytest.mark.parametrize(("rows", "times"), [(10, 0), (200_000, 2)])
def test_memory_is_given_back_before_and_after_many_rows_not_for_a_few(monkeypatch, rows, times):
    seen = []
    give_back = _spill.give_back_memory
    monkeypatch.setattr(_spill, "give_back_memory", lambda: seen.append(give_back()))
    tables = [pa.table({"a": range(rows)}) for _ in range(10)]
    with Gathered(iter(tables)) as blocks:
        assert [len(block) for block in blocks] == [rows] * 10
    assert len(seen) == times


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


KEPT = """
import sys, time
import heliostat as ray

def held_mib():
    text = open("/proc/self/smaps_rollup").read()
    return next(int(line.split()[1]) >> 10 for line in text.splitlines() if "Pss_Anon" in line)

def wait_for_less(most):
    end = time.monotonic() + 30
    while held_mib() > most and time.monotonic() < end:
        time.sleep(0.1)
    assert held_mib() <= most, held_mib()

ds = ray.data.read_parquet(sys.argv[1])
for _ in ds.limit(10).iter_batches():
    pass
before = held_mib()
all_rows = ds.materialize()
assert held_mib() > before + 300
del all_rows
wait_for_less(before + 100)
"""


@pytest.mark.alone
def test_an_idle_program_keeps_no_memory_of_rows_that_it_has_let_go(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        table = pa.table({f"c{n}": rng.random(1 << 20) for n in range(12)})
        pq.write_table(table, tmp_path / f"{number}.parquet", compression="none")
    subprocess.run([sys.executable, "-c", KEPT, str(tmp_path)], check=True, timeout=120)
