import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import heliostat as ray
from heliostat.data._gather import boundaries, rearranged
from heliostat.data._plan import Repartition, ShuffleBlocks

pytestmark = pytest.mark.usefixtures("inline")


def blocks(*sizes):
    start = 0
    out = []
    for size in sizes:
        out.append(pa.table({"a": list(range(start, start + size))}))
        start += size
    return out


def rows(tables):
    return [value for table in tables for value in table["a"].to_pylist()]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 12))
def test_blocks_are_cut_evenly_and_in_order(sizes, number):
    made = list(rearranged(blocks(*sizes), Repartition(number)))
    assert rows(made) == list(range(sum(sizes)))
    lengths = [len(one) for one in made]
    assert not sum(sizes) or (len(made) == number and max(lengths) - min(lengths) <= 1)


def test_blocks_of_so_many_rows():
    assert [len(one) for one in rearranged(blocks(5, 5), Repartition(None, 4))] == [4, 4, 2]


def test_equal_keys_come_into_one_block():
    ds = ray.data.from_items([{"k": i % 5, "v": i} for i in range(50)]).repartition(3, keys=["k"])
    seen = [
        {row["k"] for row in ray.data.from_arrow(one.table()).take_all()} for one in ds._bundles()
    ]
    assert len(seen) <= 3
    assert sum(map(len, seen)) == 5


def test_blocks_in_another_order_keep_their_rows_together():
    made = list(rearranged(blocks(2, 2, 2, 2), ShuffleBlocks(1)))
    assert sorted(rows(made)) == list(range(8))
    assert all(one["a"][1].as_py() == one["a"][0].as_py() + 1 for one in made)


def test_groups_begin_where_any_key_changes():
    table = pa.table({"a": [1, 1, 1, None, None], "b": ["x", "x", "y", "y", "y"]})
    assert boundaries(table, ["a", "b"]).tolist() == [0, 2, 3]


def test_samples_depend_on_the_seed_and_not_on_the_blocks():
    one = ray.data.range(1000, override_num_blocks=2).random_sample(0.3, seed=5).take_all()
    two = ray.data.range(1000, override_num_blocks=9).random_sample(0.3, seed=5).take_all()
    assert one == two
    assert 200 < len(one) < 400
    with pytest.raises(ValueError, match="fraction must be from 0 to 1"):
        ray.data.range(1).random_sample(1.5)


def test_repartition_says_what_contradicts():
    ds = ray.data.range(4)
    with pytest.raises(ValueError, match="exactly one of"):
        ds.repartition()
    with pytest.raises(ValueError, match="num_blocks must be >= 1"):
        ds.repartition(0)
    with pytest.raises(KeyError, match="zz"):
        ds.repartition(2, keys=["zz"])
    assert sorted(r["id"] for r in ds.repartition(2, shuffle=True).take_all()) == [0, 1, 2, 3]


def test_the_first_rows_of_a_sort_are_those_of_the_whole_sort():
    ds = ray.data.from_items([{"k": i % 5, "v": i} for i in range(1000)]).repartition(4)
    assert ds.sort("k", descending=True).take(7) == ds.sort("k", descending=True).take_all()[:7]
