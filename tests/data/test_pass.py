import json

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")

CUTS = [
    {"batch_size": 7},
    {"batch_size": 7, "drop_last": True},
    {"batch_size": 7, "local_shuffle_buffer_size": 20},
    {"batch_size": 7, "local_shuffle_buffer_size": 20, "local_shuffle_seed": 3},
]


def ids(batches):
    return [batch["id"].tolist() for batch in batches]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("given", [0, 1, 5, 15])
def test_a_pass_is_taken_up_exactly_where_it_was(cut, given):
    iterator = ray.data.range(100, override_num_blocks=9).iterator()
    batches = iterator.iter_batches(prefetch_batches=3, **cut)
    for _ in range(given):
        next(batches, None)
    state = json.loads(json.dumps(iterator.state()))
    again = ray.data.range(100, override_num_blocks=9).iterator()
    again.load_state(state)
    assert ids(again.iter_batches(**cut)) == ids(batches)
    # The pass after it begins at the beginning.
    assert sum(map(len, ids(again.iter_batches(batch_size=7)))) == 100


def test_a_state_of_another_cut_is_refused():
    iterator = ray.data.range(10).iterator()
    next(iterator.iter_batches(batch_size=2))
    again = ray.data.range(10).iterator()
    again.load_state(iterator.state())
    with pytest.raises(ValueError, match="cannot be gone on with"):
        again.iter_batches(batch_size=3)
    with pytest.raises(ValueError, match="not a state"):
        again.load_state({"rows": 1})


def test_rows_are_taken_up_where_they_were():
    iterator = ray.data.range(20, override_num_blocks=4).iterator()
    rows = iterator.iter_rows()
    assert [next(rows)["id"] for _ in range(7)] == [*range(7)]
    again = ray.data.range(20, override_num_blocks=4).iterator()
    again.load_state(json.loads(json.dumps(iterator.state())))
    assert [row["id"] for row in again.iter_rows()] == [*range(7, 20)]
    assert len([*again.iter_rows()]) == 20
    again.load_state(again.state())
    assert [*again.iter_rows()] == []
    again.load_state(iterator.state())
    with pytest.raises(ValueError, match="cannot be gone on with"):
        again.iter_batches(batch_size=4)
