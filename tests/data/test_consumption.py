"""Eager verbs: how far they run, what they give, what they write."""

import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import heliostat as ray
from heliostat.data.expressions import col

pytestmark = pytest.mark.usefixtures("inline")


def ids(ds):
    return [row["id"] for row in ds.take_all()]


def test_take_runs_no_more_than_it_needs():
    calls = []
    ds = ray.data.range(10_000).map_batches(lambda b: calls.append(len(b["id"])) or b, batch_size=8)
    assert [row["id"] for row in ds.take(10)] == list(range(10))
    with pytest.raises(TypeError, match="take: limit must be an int, got 'all'"):
        ds.take("all")
    assert sum(calls) == 16


@pytest.mark.parametrize(
    "verb", ["take_batch", "take_all", "to_pandas", "split", "streaming_split"]
)
def test_what_is_no_whole_number_is_told_by_name(verb):
    with pytest.raises(TypeError, match=f"{verb}: .* must be an int, got 2.5"):
        getattr(ray.data.range(5), verb)(2.5)


def test_take_all_refuses_more_than_its_limit():
    assert ray.data.range(5).take_all(5) == ray.data.range(5).take_all()
    with pytest.raises(ValueError, match="more rows than the limit of 4"):
        ray.data.range(5).take_all(4)


def test_a_batch_is_taken_in_the_asked_format():
    ds = ray.data.from_items([{"a": 1, "b": "x"}, {"a": None, "b": None}])
    assert ds.take_batch(1) == {"a": np.array([1]), "b": np.array(["x"], dtype=object)}
    assert np.isnan(ds.take_batch(2)["a"][1])
    assert isinstance(ds.take_batch(batch_format="pandas"), pd.DataFrame)
    assert ds.take_batch(batch_format="pyarrow").num_rows == 2
    with pytest.raises(ValueError, match="empty"):
        ray.data.range(0).take_batch()


def test_a_taken_batch_belongs_to_the_caller():
    batch = ray.data.range(3).materialize().take_batch()
    batch["id"] += 1
    assert batch["id"].tolist() == [1, 2, 3]


def test_show_prints_rows(capsys):
    ray.data.range(30).show(2)
    assert capsys.readouterr().out == "{'id': 0}\n{'id': 1}\n"


def test_to_pandas_refuses_more_than_its_limit():
    assert len(ray.data.range(5).to_pandas(limit=5)) == 5
    with pytest.raises(ValueError, match="more rows than the limit of 4"):
        ray.data.range(5).to_pandas(limit=4)


@pytest.mark.parametrize(
    ("rows", "n", "equal", "sizes"),
    [
        (10, 3, False, [4, 3, 3]),
        (10, 3, True, [3, 3, 3]),
        (2, 3, False, [1, 1, 0]),
        (0, 2, True, [0, 0]),
    ],
)
def test_split_is_even_and_in_order(rows, n, equal, sizes):
    parts = ray.data.range(rows).split(n, equal=equal)
    assert [part.count() for part in parts] == sizes
    assert [row for part in parts for row in ids(part)] == list(range(sum(sizes)))
    shards = ray.data.range(rows).streaming_split(n, equal=equal)
    assert [shard.count() for shard in shards] == sizes


def test_split_refuses_no_parts():
    with pytest.raises(ValueError, match=">= 1, got 0"):
        ray.data.range(1).split(0)
    with pytest.raises(ValueError, match="ascending"):
        ray.data.range(9).split_at_indices([3, 2])


@pytest.mark.parametrize(("size", "cut"), [(0.3, 7), (0.25, 7), (3, 7), (0.5, 5)])
def test_the_test_rows_are_the_last(size, cut):
    train, test = ray.data.range(10).train_test_split(size)
    assert (ids(train), ids(test)) == (list(range(cut)), list(range(cut, 10)))


def test_a_shuffled_train_test_split_follows_its_seed():
    first = [ids(part) for part in ray.data.range(50).train_test_split(0.2, shuffle=True, seed=4)]
    again = [ids(part) for part in ray.data.range(50).train_test_split(0.2, shuffle=True, seed=4)]
    assert first == again
    assert sorted(first[0] + first[1]) == list(range(50))
    assert first[0] != list(range(40))


@pytest.mark.parametrize("size", [1.3, 0.0, 0, 10, -1])
def test_a_test_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match="test_size"):
        ray.data.range(10).train_test_split(size)


def test_iter_batches_gives_exact_sizes_across_blocks():
    ds = ray.data.range(25, override_num_blocks=4)
    assert [len(b["id"]) for b in ds.iter_batches(batch_size=10)] == [10, 10, 5]
    assert [len(b["id"]) for b in ds.iter_batches(batch_size=10, drop_last=True)] == [10, 10]
    assert [len(b["id"]) for b in ds.iter_batches(batch_size=None)] == [6, 6, 6, 7]


def test_a_local_shuffle_keeps_rows_and_follows_its_seed():
    def run(seed):
        batches = ray.data.range(100).iter_batches(
            batch_size=7, local_shuffle_buffer_size=30, local_shuffle_seed=seed
        )
        return [value for batch in batches for value in batch["id"].tolist()]

    assert run(1) == run(1) != run(2)
    assert sorted(run(1)) == list(range(100))
    assert run(1) != list(range(100))


def test_what_is_written_is_read_back(tmp_path, trips):
    ds = ray.data.from_arrow(trips)
    ds.write_parquet(tmp_path / "out", max_rows_per_file=40)
    assert len(os.listdir(tmp_path / "out")) == 3
    assert ray.data.read_parquet(str(tmp_path / "out")).take_all() == ds.take_all()
    ds.write_parquet(str(tmp_path / "out"))
    assert ray.data.read_parquet(str(tmp_path / "out")).count() == 200


def test_small_blocks_can_be_written_together(tmp_path):
    ds = ray.data.range(25, override_num_blocks=25)
    ds.write_parquet(str(tmp_path / "out"), min_rows_per_file=10, compression="zstd")
    assert sorted(pq.read_metadata(file).num_rows for file in (tmp_path / "out").iterdir()) == [
        5,
        10,
        10,
    ]


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    def fail_late(row):
        return {"x": 1 // (90 - row["id"])}

    with pytest.raises(ZeroDivisionError):
        ray.data.range(100).map(fail_late).write_parquet(str(tmp_path / "out"))
    assert os.listdir(tmp_path) == []


def test_modes_decide_about_what_is_there(tmp_path):
    path = str(tmp_path / "out")
    ray.data.range(3).write_parquet(path)
    with pytest.raises(FileExistsError, match="not empty"):
        ray.data.range(5).write_parquet(path, mode="error")
    ray.data.range(5).write_parquet(path, mode="ignore")
    assert ray.data.read_parquet(path).count() == 3
    ray.data.range(5).write_parquet(path, mode="overwrite")
    assert ray.data.read_parquet(path).count() == 5
    assert os.listdir(tmp_path) == ["out"]


def test_the_size_is_that_of_the_rows():
    assert ray.data.range(10).size_bytes() == 80


def test_shares_leave_the_rest_to_the_last_part():
    parts = ray.data.range(100).split_proportionately([0.1, 0.29])
    assert [part.count() for part in parts] == [10, 29, 61]
    with pytest.raises(ValueError, match="below 1 together"):
        ray.data.range(4).split_proportionately([0.5, 0.5])
    few = ray.data.range(10).split_proportionately([0.2, 0.05, 0.05])
    assert [part.count() for part in few] == [1, 1, 1, 7]
    with pytest.raises(ValueError, match=r"4 rows are too few for shares of \[0.1\]"):
        ray.data.range(4).split_proportionately([0.1])


def test_a_stratified_split_has_the_same_shares_of_each_value():
    ds = ray.data.from_items([{"k": i % 10 == 0, "v": i} for i in range(200)])
    train, test = ds.train_test_split(0.25, stratify="k", shuffle=True, seed=1)
    assert (train.count(), test.count()) == (150, 50)
    assert (train.sum("k"), test.sum("k")) == (15, 5)
    with pytest.raises(KeyError, match="zz"):
        ds.train_test_split(0.25, stratify="zz")
    few = ray.data.from_items([{"k": n % 3} for n in range(12)])
    # Of each value's share whole rows, as in Ray: not more than a tenth.
    assert few.train_test_split(0.1, stratify="k")[1].count() == 0
    assert few.train_test_split(0.3, stratify="k")[1].count() == 3
    assert few.train_test_split(3, stratify="k")[1].count() == 3
    for size in range(1, few.count()):  # a number of rows is that number
        train, test = few.train_test_split(size, stratify="k")
        assert (train.count(), test.count()) == (few.count() - size, size)


def test_to_count_rows_no_more_columns_are_read_than_it_takes(tmp_path):
    table = pa.table({"a": [1.0, 5.0], "b": ["x", "y"], "c": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    # Arrow and SQL do not compute it alike, so it is no query.
    kept = ray.data.read_parquet(tmp_path).filter(expr=col("c") * 2 > 3)
    assert kept.count() == 1
    assert [stage.bytes_out for stage in kept._stats.stages] == [8]
