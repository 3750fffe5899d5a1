import numpy as np
import pyarrow as pa

import heliostat as ray
from heliostat.data._ordering.shuffling import shuffled_blocks
from heliostat.data.block import concat


def values(blocks, seed, memory=1 << 30):
    return concat(list(shuffled_blocks(iter(blocks), seed, memory)))["a"].to_pylist()


def blocks_of(rows, size):
    return [pa.table({"a": range(n, min(n + size, rows))}) for n in range(0, rows, size)]


def test_the_order_depends_on_the_seed_and_not_on_blocks_or_memory():
    once = values(blocks_of(5000, 5000), 7)
    assert sorted(once) == list(range(5000))
    assert values(blocks_of(5000, 333), 7) == once
    assert values(blocks_of(5000, 333), 7, memory=4000) == once
    assert values(blocks_of(5000, 5000), 8) != once
    assert values(blocks_of(5000, 5000), None) != once


def test_rows_end_up_anywhere():
    made = np.array(values(blocks_of(20_000, 20_000), 3))
    assert abs(np.corrcoef(made, np.arange(20_000))[0, 1]) < 0.05
    assert (made == np.arange(20_000)).mean() < 0.01
    # Every hundredth of the result has rows of all parts of the input.
    assert abs(made.reshape(100, 200).mean(1) / 10_000 - 1).max() < 0.2


def test_no_rows_keep_their_columns():
    (made,) = shuffled_blocks(iter([pa.table({"a": pa.array([], pa.int8())})]), 1, 1)
    assert made.schema.names == ["a"]
    assert list(shuffled_blocks(iter([]), 1, 1)) == []


def test_a_seed_gives_the_same_rows_whatever_the_number_of_workers(monkeypatch):
    monkeypatch.setenv("HELIOSTAT_PROGRESS", "0")

    def rows(cpus):
        ray.shutdown()
        ray.init(num_cpus=cpus)
        try:
            ds = ray.data.range(3000, override_num_blocks=20).map_batches(
                lambda batch: {"a": batch["id"] * 2}, batch_size=100
            )
            shuffled = ds.random_shuffle(seed=5).map(lambda row: {"a": row["a"] + 1})
            return [row["a"] for row in shuffled.random_sample(0.5, seed=2).take_all()]
        finally:
            ray.shutdown()

    one, three = rows(1), rows(3)
    assert one == three
    assert len(one) > 1000
    assert one != sorted(one)
