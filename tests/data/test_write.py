"""Which blocks become which parts."""

import os
import random
import subprocess
import sys
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data._write import WriteOptions, parts
from heliostat.data.block import Bundle


def cut(sizes, **options):
    bundles = [Bundle.of(pa.table({"a": list(range(size))})) for size in sizes]
    return [[one.rows for one in part] for part in parts(bundles, WriteOptions(**options))]


def test_a_block_is_a_part_unless_sizes_are_asked_for():
    assert cut([2, 3]) == [[2], [3]]
    assert cut([2, 3, 1], min_rows=4) == [[2, 2], [1, 1]]
    assert cut([5], max_rows=2) == [[2], [2], [1]]
    assert cut([5, 1], max_rows=2) == [[2], [2], [1], [1]]
    assert cut([3, 3, 3], min_rows=4, max_rows=5) == [[3, 1], [2, 2], [1]]
    assert cut([1, 1, 1], min_bytes=16) == [[1, 1], [1]]


class Slow(ray.data.Datasink):
    def write(self, blocks, ctx):
        return os.getpid()

    def on_write_complete(self, write_result):
        self.pids = write_result.write_returns


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


class Same:
    def __call__(self, batch):
        return batch


def test_parts_are_written_in_workers_also_when_actors_hold_all_cpus(local, tmp_path):
    import os

    sink = Slow()
    ds = ray.data.range(2000, override_num_blocks=4).map_batches(Same, concurrency=2, num_cpus=1)
    ds.write_datasink(sink)
    assert sink.pids
    assert os.getpid() not in sink.pids
    ds.write_parquet(str(tmp_path / "out"))
    assert ray.data.read_parquet(str(tmp_path / "out")).to_pandas()["id"].tolist() == list(
        range(2000)
    )


# Says "now" and writes; the files are many, so that there is a middle to be killed in.
WRITES = """
import sys
import heliostat as ray

folder, version, mode = sys.argv[1:]
ray.init(engine="inline")
ds = ray.data.range(400, override_num_blocks=40)
ds = ds.map_batches(lambda batch: {"id": batch["id"], "version": [int(version)] * len(batch["id"])})
print("now", flush=True)
ds.write_parquet(folder, mode=mode)
print("done", flush=True)
"""


def written(folder, version, mode, delay=None):
    """Let a program write, and kill it after so many seconds; how long it has taken."""
    program = subprocess.Popen(
        [sys.executable, "-c", WRITES, folder, str(version), mode],
        stdout=subprocess.PIPE,
        env={**os.environ, "HELIOSTAT_PROGRESS": "0"},
    )
    with program:
        assert program.stdout.readline() == b"now\n"
        started = time.perf_counter()
        try:
            program.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            program.kill()
        return time.perf_counter() - started


@pytest.mark.parametrize(
    "kills", [5, pytest.param(50, marks=pytest.mark.soak)], ids=["five", "fifty"]
)
def test_a_program_killed_while_it_writes_leaves_all_or_nothing(tmp_path, kills):
    folder = str(tmp_path / "out")
    taken = written(folder, 0, "append")
    draw = random.Random(kills)
    there = [0]
    for version in range(1, kills + 1):
        mode = "append" if version % 2 else "overwrite"
        written(folder, version, mode, draw.uniform(0, taken))
        table = pq.read_table(folder)
        counts = Counter(table["version"].to_pylist())
        assert set(counts.values()) == {400}
        new = sorted(counts)
        assert new in (there, [version] if mode == "overwrite" else [*there, version])
        there = new
    # The next one removes what the killed have left.
    written(folder, kills + 1, "append")
    assert os.listdir(tmp_path) == ["out"]
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []
