import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.data._ordering import sorting as _sorting
from heliostat.data._ordering.sorting import Runs, sorted_blocks
from heliostat.data.block import concat

VALUES = {
    pa.int64(): st.integers(-3, 3),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, -1.5, math.nan, math.inf]),
    pa.string(): st.sampled_from(["", "a", "b", "ab"]),
}
ROWS = st.lists(
    st.tuples(*(st.none() | values for values in VALUES.values())), min_size=0, max_size=60
)


def tables(rows, cuts):
    whole = pa.table(
        {
            **{
                f"k{number}": pa.array([row[number] for row in rows], kind)
                for number, kind in enumerate(VALUES)
            },
            "row": range(len(rows)),
        }
    )
    ends = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    return [whole.slice(a, b - a) for a, b in itertools.pairwise(ends)] or [whole]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(_sorting, "LEAST_BATCH_BYTES", 1)
    monkeypatch.setattr(_sorting, "FAN_IN", 3)


@settings(max_examples=60)
@given(
    ROWS,
    st.lists(st.integers(0, 60), max_size=5),
    st.permutations([0, 1, 2]),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.integers(1, 2000),
)
def test_the_order_is_the_same_with_disk_and_without(rows, cuts, keys, descending, memory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sorting, "LEAST_BATCH_BYTES", 1)
        patch.setattr(_sorting, "FAN_IN", 3)
        names = [f"k{number}" for number in keys]
        blocks = tables(rows, cuts)
        expected = concat(list(sorted_blocks(iter(blocks), names, descending, 1 << 30)))
        with_disk = concat(list(sorted_blocks(iter(blocks), names, descending, memory)))
    assert with_disk["row"].to_pylist() == expected["row"].to_pylist()
    assert repr(with_disk.to_pylist()) == repr(expected.to_pylist())


def test_equal_rows_stay_in_their_order_over_many_runs(small_batches):
    blocks = [pa.table({"k": [1] * 50, "row": range(n, n + 50)}) for n in range(0, 1000, 50)]
    made = concat(list(sorted_blocks(iter(blocks), ["k"], [False], 500)))
    assert made["row"].to_pylist() == list(range(1000))


def test_runs_of_different_types_are_made_alike(small_batches):
    blocks = [pa.table({"k": [3, 1]}), pa.table({"k": [2.5, None]}), pa.table({"k": [2, 9]})]
    made = list(sorted_blocks(iter(blocks), ["k"], [False], 1))
    assert {one.schema.field("k").type for one in made} == {pa.float64()}
    assert concat(made)["k"].to_pylist() == [1.0, 2.0, 2.5, 3.0, 9.0, None]


def test_no_rows_keep_their_columns():
    (made,) = sorted_blocks(iter([pa.table({"k": pa.array([], pa.int8())})]), ["k"], [False], 1)
    assert made.schema.names == ["k"]
    assert list(sorted_blocks(iter([]), ["k"], [False], 1)) == []


def test_rows_that_take_no_bytes_are_not_lost():
    made = concat(
        list(sorted_blocks(iter([pa.table({"k": pa.nulls(3)})] * 2), ["k"], [False], 1 << 20))
    )
    assert made["k"].to_pylist() == [None] * 6


def test_a_key_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="zz"):
        list(sorted_blocks(iter([pa.table({"k": [1]})]), ["zz"], [False], 1 << 20))


def test_ten_times_the_memory_is_sorted_in_little_more_than_it():
    memory = 8 << 20
    before = pa.total_allocated_bytes()
    peak = 0

    def blocks():
        rng = np.random.default_rng(0)
        for _ in range(100):
            yield pa.table({"k": rng.random(50_000), "v": rng.random(50_000)})

    last, rows = -1.0, 0
    for block in sorted_blocks(blocks(), ["k"], [False], memory):
        peak = max(peak, pa.total_allocated_bytes() - before)
        keys = block["k"].to_numpy()
        assert keys[0] >= last
        assert (np.diff(keys) >= 0).all()
        last, rows = keys[-1], rows + len(keys)
    assert rows == 5_000_000
    assert peak < 3 * memory


def test_of_a_run_on_disk_nothing_large_stays_in_memory():
    before = pa.total_allocated_bytes()
    with Runs(["k"], [False], 8 << 20) as runs:
        runs.add(iter([pa.table({"k": np.arange(1 << 20)})]))
        assert pa.total_allocated_bytes() - before < 1 << 20
        assert sum(block.num_rows for block in runs.merged()) == 1 << 20
