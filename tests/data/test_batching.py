"""Blocks to batches."""

import threading

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.data._batching import SLAB_BYTES, prefetch, rebatch, shuffled


def tables(sizes):
    start = 0
    for size in sizes:
        yield pa.table({"a": np.arange(start, start + size)})
        start += size


def values(found):
    return [table["a"].to_pylist() for table in found]


SIZES = st.lists(st.integers(0, 12), max_size=6)


@given(SIZES, st.integers(1, 9), st.booleans())
def test_batches_have_the_asked_size_and_lose_nothing(sizes, size, drop_last):
    total = sum(sizes)
    end = total // size * size if drop_last else total
    expected = [list(range(at, min(at + size, end))) for at in range(0, end, size)]
    assert values(rebatch(tables(sizes), size, drop_last=drop_last)) == expected


def test_without_a_size_blocks_stay_as_they_are():
    assert values(rebatch(tables([2, 0, 1]), None)) == [[0, 1], [2]]


@given(SIZES, st.integers(1, 20), st.integers(1, 9), st.integers(0, 5))
def test_a_shuffle_buffer_gives_every_row_once(sizes, buffer, size, seed):
    found = values(shuffled(tables(sizes), buffer, size, seed))
    assert sorted(value for batch in found for value in batch) == list(range(sum(sizes)))
    # Whole batches, which are cut afterwards; only the last may be short.
    assert all(len(batches) % size == 0 for batches in found[:-1])
    assert found == values(shuffled(tables(sizes), buffer, size, seed))


def test_a_shuffle_buffer_lets_late_rows_come_early():
    found = values(shuffled(tables([10] * 10), 50, 10, 0))
    assert max(found[0]) > 10


def test_running_ahead_gives_the_same_and_ends_its_thread():
    assert list(prefetch(iter(range(50)), 3)) == list(range(50))
    ahead = prefetch(iter(range(1_000_000)), 2)
    assert next(ahead) == 0
    ahead.close()
    assert not [one for one in threading.enumerate() if "prefetch" in one.name]


def test_an_error_ahead_is_raised_where_the_consumer_is():
    def fail():
        yield 1
        raise KeyError("theirs")

    ahead = prefetch(fail(), 2)
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="theirs"):
        next(ahead)


def test_leaving_early_closes_what_runs_ahead():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    ahead = prefetch(endless(), 1)
    next(ahead)
    ahead.close()
    assert closed.wait(5)


@pytest.mark.parametrize("drop_last", [False, True])
def test_no_batch_waits_for_more_rows_than_it_has(drop_last):
    taken = []

    def blocks():
        for start, rows in [(0, 5), (5, 1), (6, 9), (15, 0), (15, 3), (18, 4)]:
            taken.append(start)
            yield pa.table({"a": range(start, start + rows)})

    tables = rebatch(blocks(), 4, drop_last=drop_last, slab=2)
    first = next(tables)
    assert (first["a"].to_pylist(), taken) == ([0, 1, 2, 3], [0])
    rest = [table["a"].to_pylist() for table in tables]
    assert rest[:2] == [[4, 5, 6, 7], [8, 9, 10, 11]]
    assert [one for table in rest for one in table] == list(range(4, 20 if drop_last else 22))
    assert max(map(len, rest)) <= 8


def test_batches_are_left_together_up_to_a_size_in_bytes():
    table = pa.table({"a": np.zeros(1 << 22)})
    sizes = [len(one) for one in rebatch([table], 1000, slab=1 << 30)]
    assert sizes[0] == SLAB_BYTES // 8 // 1000 * 1000
    wide = pa.table({"a": pa.array([b"x" * (SLAB_BYTES + 1)] * 3)})
    assert [len(one) for one in rebatch([wide], 1, slab=100)] == [1, 1, 1]
