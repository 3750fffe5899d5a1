"""Results as they come."""

import itertools

import pytest

import heliostat as ray
from heliostat.testing._session import Gate, Tally
from heliostat.util import as_completed, map_unordered

pytestmark = pytest.mark.usefixtures("local")


@ray.remote
def double(x):
    return 2 * x


@ray.remote
def after(gate, x):
    gate.wait()
    return x


def test_as_completed_gives_what_is_there_before_what_is_late(tmp_path):
    gate = Gate(tmp_path)
    refs = [after.remote(gate, "late"), double.remote(1), double.remote(2)]
    results = as_completed(refs, chunk_size=1)
    assert sorted(itertools.islice(results, 2)) == [2, 4]
    gate.open()
    assert list(results) == ["late"]


def test_as_completed_may_give_references():
    refs = [double.remote(n) for n in range(5)]
    assert set(as_completed(refs, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []


def test_map_unordered_takes_items_as_they_are_needed(tmp_path):
    taken = Tally(tmp_path)

    def items():
        for n in itertools.count():
            taken.add()
            yield n

    results = map_unordered(double, items(), backpressure_size=4, chunk_size=2)
    assert taken.count() == 0
    first = sorted(itertools.islice(results, 20))
    assert len(first) == 20
    assert taken.count() <= 20 + 4


def test_map_unordered_ends_with_its_items():
    assert sorted(map_unordered(double, range(7), backpressure_size=None)) == list(range(0, 14, 2))
    assert list(map_unordered(double, [])) == []


def test_less_may_run_at_once_than_makes_a_chunk():
    assert sorted(map_unordered(double, range(7), backpressure_size=2)) == list(range(0, 14, 2))


def test_bad_sizes_are_refused_at_once():
    with pytest.raises(ValueError, match="chunk_size must be >= 1"):
        as_completed([], chunk_size=0)
    with pytest.raises(ValueError, match="pass chunk_size="):
        as_completed([], num_returns=2)
    with pytest.raises(ValueError, match="backpressure_size must be >= 1, or None, got 0"):
        map_unordered(double, [], backpressure_size=0)
