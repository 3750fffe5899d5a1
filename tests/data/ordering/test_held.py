import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.data._ordering import held as _held
from heliostat.data._ordering import reorder as _reorder
from heliostat.data._ordering.held import HeldRuns, _cuts
from heliostat.data.block import concat

MOMENTS = pa.timestamp("us", tz="UTC")
VALUES = {
    pa.int64(): st.integers(-3, 3),
    pa.float32(): st.sampled_from([0.0, -0.0, 1.5, -1.5, math.nan, math.inf, -math.inf]),
    MOMENTS: st.integers(0, 3),
}


def in_order(blocks, down, schema=None):
    with ThreadPoolExecutor(2) as threads:
        held = HeldRuns(["k"], [down], threads)
        for block in blocks:
            held.add(block)
        made = list(held.merged(schema))
        assert held.size == 0
    return made


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(_held, "RUN_BYTES", 1)
    monkeypatch.setattr(_reorder, "ROWS_A_BLOCK", 7)


@settings(max_examples=80)
@given(
    st.data(),
    st.sampled_from(list(VALUES)),
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.booleans(),
    st.integers(1, 30),
)
def test_merged_runs_are_as_python_sorts(data, kind, lengths, down, rows):
    blocks, all_rows = [], []
    for length in lengths:
        values = [data.draw(VALUES[kind]) for _ in range(length)]
        numbers = list(range(len(all_rows), len(all_rows) + length))
        all_rows += zip(values, numbers, strict=True)
        blocks.append(pa.table({"k": pa.array(values, kind), "row": numbers}))
    sign = -1 if down else 1
    all_rows.sort(key=lambda row: (math.isnan(row[0]), 0 if math.isnan(row[0]) else sign * row[0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_held, "RUN_BYTES", 1)
        patch.setattr(_reorder, "ROWS_A_BLOCK", rows)
        made = in_order(blocks, down)
    assert concat(made)["row"].to_pylist() == [number for _, number in all_rows]


def test_blocks_too_few_for_a_run_are_sorted_too(monkeypatch):
    monkeypatch.setattr(_reorder, "ROWS_A_BLOCK", 7)
    rng = np.random.default_rng(0)
    blocks = [pa.table({"k": rng.permutation(100)}) for _ in range(3)]
    made = in_order(blocks, False)
    assert len(made) > 1
    assert concat(made)["k"].to_pylist() == sorted([*range(100)] * 3)


def test_rows_of_one_key_are_many_blocks(small):
    blocks = [pa.table({"k": [1] * 50, "row": range(n, n + 50)}) for n in range(0, 500, 50)]
    made = in_order(blocks, False)
    assert max(len(block) for block in made) < 60
    assert concat(made)["row"].to_pylist() == list(range(500))


@pytest.mark.parametrize(
    "odd",
    [{"k": [None, 2], "v": ["x", "y"]}, {"k": [1.5, 2.5], "v": ["x", "y"]}],
    ids=["null", "type"],
)
def test_runs_that_are_not_alike_are_sorted_all_the_same(small, odd):
    made = concat(in_order([pa.table({"k": [3, 1], "v": ["a", "b"]}), pa.table(odd)], False))
    expected = sorted([3, 1, *odd["k"]], key=lambda key: (key is None, key))
    assert made["k"].to_pylist() == expected


def test_encoded_texts_become_texts_and_tensors_stay_tensors(small):
    def block(texts, first):
        tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.full((2, 2, 2), first))
        return pa.table(
            {"k": [first, -first], "t": pa.array(texts).dictionary_encode(), "x": tensor}
        )

    blocks = [block(["a", "b"], 1), block(["c", "a"], 2)]
    schema = blocks[0].schema.set(1, pa.field("t", pa.string()))
    made = concat(in_order(blocks, False, schema))
    assert made.schema.equals(schema)
    assert made["t"].to_pylist() == ["a", "b", "a", "c"]
    assert [int(x[0, 0]) for x in made["x"].combine_chunks().to_numpy_ndarray()] == [2, 1, 1, 2]


@pytest.mark.parametrize("run_bytes", [1, 1 << 20], ids=["runs", "blocks"])
def test_a_key_that_some_blocks_lack_is_null_there(monkeypatch, run_bytes):
    monkeypatch.setattr(_held, "RUN_BYTES", run_bytes)
    blocks = [pa.table({"k": [2, 1]}), pa.table({"k": [0]}), pa.table({"other": [7]})]
    made = concat(in_order(blocks, False))
    assert made["k"].to_pylist() == [0, 1, 2, None]
    assert made["other"].to_pylist() == [None, None, None, 7]


def test_a_missing_key_is_named():
    with pytest.raises(KeyError, match="k"):
        in_order([pa.table({"a": [1]})], False)


def test_cuts_are_before_a_row_and_between_equal_ones():
    cuts = _cuts([np.array([1, 1, 1, 1]), np.array([0, 1, 1, 2])], 2)
    assert (np.diff(cuts, axis=1) >= 0).all()
    assert cuts[:, 0].tolist() == [0, 0]
    assert cuts[:, -1].tolist() == [4, 4]
    assert np.diff(cuts.sum(axis=0)).max() <= 4
