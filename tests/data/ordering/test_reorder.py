import numpy as np
import pyarrow as pa
import pytest

from heliostat.data._ordering import reorder as _reorder
from heliostat.data._ordering.reorder import cpu_threads, fitted, in_turn, reordered, rows_a_block
from heliostat.data.block import concat


@pytest.mark.parametrize("many", [0, 1 << 30], ids=["by threads", "at once"])
def test_rows_come_in_the_order_in_blocks_and_with_their_types(monkeypatch, many):
    monkeypatch.setattr(_reorder, "MANY_VALUES", many)
    monkeypatch.setattr(_reorder, "ROWS_A_BLOCK", 1000)
    tables = [
        pa.table({"n": range(start, start + 3000), "t": [f"t{i % 3}" for i in range(3000)]})
        for start in (0, 3000)
    ]
    order = np.random.default_rng(0).permutation(6000)
    with cpu_threads() as threads:
        made = list(reordered(tables, lambda keys: order, [], threads))
    assert not tables
    assert [len(block) for block in made] == [1000] * 6
    assert concat(made).schema == pa.schema([("n", pa.int64()), ("t", pa.string())])
    assert concat(made)["n"].to_pylist() == order.tolist()
    assert concat(made)["t"].to_pylist() == [f"t{i % 3000 % 3}" for i in order]


def test_large_rows_are_joined_once_for_all_blocks(monkeypatch):
    joined = []
    join = _reorder._joined
    monkeypatch.setattr(_reorder, "_joined", lambda *of: joined.append(of[1]) or join(*of))
    monkeypatch.setattr(_reorder, "BLOCK_BYTES", 1)
    with cpu_threads() as threads:
        made = list(reordered([pa.table({"a": [2, 1]})], lambda _: np.array([1, 0]), [], threads))
    assert [block["a"].to_pylist() for block in made] == [[1], [2]]
    assert joined == [0]


def test_the_order_is_told_the_keys_only():
    seen = []

    def order(keys):
        seen.append(keys.column_names)
        return np.array([1, 0])

    with cpu_threads() as threads:
        (made,) = reordered([pa.table({"a": [1, 2], "b": [3, 4]})], order, ["b"], threads)
    assert seen == [["b"]]
    assert made.to_pydict() == {"a": [2, 1], "b": [4, 3]}


def test_large_rows_are_few_a_block():
    assert rows_a_block(1000, 1000 << 20) == 16
    assert rows_a_block(2, 1 << 40) == 1
    assert rows_a_block(10, 0) == _reorder.ROWS_A_BLOCK or rows_a_block(10, 0) >= 10


def test_an_error_of_a_thread_is_raised_in_its_place():
    with cpu_threads() as threads:
        made = in_turn(threads, lambda number: 1 // number, iter([2, 1, 0, 1]))
        assert [next(made), next(made)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(made)


def test_types_that_are_as_wanted_are_not_touched():
    table = pa.table({"a": [1], "t": pa.array(["x"]).dictionary_encode()})
    assert fitted(table, table.schema) is table
    wanted = pa.schema([("a", pa.int64()), ("t", pa.string())])
    assert fitted(table, wanted).to_pydict() == {"a": [1], "t": ["x"]}
