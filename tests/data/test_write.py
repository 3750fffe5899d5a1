"""Which blocks become which parts."""

import pyarrow as pa
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
        import os

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
