"""Several consumers of one stream, in processes of their own."""

import os

import numpy as np
import pytest

import heliostat as ray


@pytest.fixture(scope="module", autouse=True)
def session():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELIOSTAT_PROGRESS", "0")
        ray.shutdown()
        ray.init(num_cpus=2)
        yield
        ray.shutdown()


@ray.remote
def rows_of(shard, passes=1):
    return [[row["id"] for row in shard.iter_rows()] for _ in range(passes)]


def test_every_row_goes_to_one_consumer_in_each_pass():
    shards = ray.data.range(1000, override_num_blocks=7).streaming_split(2)
    got = ray.get([rows_of.remote(shard, 2) for shard in shards])
    for number in range(2):
        assert sorted(got[0][number] + got[1][number]) == list(range(1000))
    assert got[0][0] == got[0][1]


def test_consumers_that_hold_every_cpu_are_fed_all_the_same():
    ds = ray.data.range(100, override_num_blocks=4).map_batches(lambda b: {"id": b["id"] + 1})
    got = ray.get([rows_of.remote(shard) for shard in ds.streaming_split(2, equal=True)])
    assert [len(rows) for (rows,) in got] == [50, 50]
    assert sorted(got[0][0] + got[1][0]) == list(range(1, 101))


def test_rows_come_before_all_are_made(tmp_path):
    def slow_end(batch):
        if batch["id"][0] >= 100:
            assert os.path.exists(tmp_path / "seen"), "the first rows were not given before"
        return batch

    ds = ray.data.range(200, override_num_blocks=2).map_batches(
        slow_end, batch_size=1, concurrency=1
    )
    ray.data.DataContext.get_current().memory_budget_bytes = 1
    try:
        (shard,) = ds.streaming_split(1)
    finally:
        ray.data.DataContext.get_current().memory_budget_bytes = None
    rows = shard.iter_rows()
    assert next(rows) == {"id": 0}
    (tmp_path / "seen").write_text("yes")
    assert len(list(rows)) == 199


def test_one_after_the_other_is_as_good_as_together():
    shards = ray.data.range(10).map(lambda row: row).streaming_split(3, equal=False)
    parts = [[row["id"] for row in shard.iter_rows()] for shard in shards]
    assert sorted(row for part in parts for row in part) == list(range(10))
    assert [len(part) for part in parts] == [4, 3, 3]


def test_who_stops_early_begins_anew_the_next_time():
    one, two = ray.data.range(100).map(lambda row: row).streaming_split(2)
    first = next(iter(one.iter_batches(batch_size=5)))
    assert first["id"].tolist() == next(iter(one.iter_batches(batch_size=5)))["id"].tolist()
    assert sum(len(batch["id"]) for batch in two.iter_batches()) == 50


def test_an_error_reaches_whoever_asks():
    def refuse(row):
        raise ZeroDivisionError("theirs")

    one, two = ray.data.range(10).map(refuse).streaming_split(2)
    for shard in (one, two):
        with pytest.raises(ray.exceptions.RayTaskError, match="theirs"):
            list(shard.iter_rows())


def test_columns_counts_and_figures_of_a_part():
    one, two = ray.data.range(9).map(lambda row: {"x": row["id"]}).streaming_split(2)
    assert one.columns() == ["x"]
    assert one.schema().names == ["x"]
    assert [one.count(), two.count()] == [5, 4]
    assert one.materialize().count() == 5
    assert len(two.to_pandas()) == 4
    assert "Map" in one.stats()
    batches = one.iter_batches(batch_size=2, local_shuffle_buffer_size=3, local_shuffle_seed=1)
    assert len(np.concatenate([batch["x"] for batch in batches])) == 5
    assert repr(one) == "SplitIterator(0)"


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match=">= 1, got 0"):
        ray.data.range(1).map(lambda row: row).streaming_split(0)
