"""DataIterator."""

import pickle
import threading

import pytest

import heliostat as ray

pytestmark = pytest.mark.usefixtures("inline")


def test_it_can_be_iterated_again_and_pickled():
    iterator = ray.data.range(5).map(lambda row: row).iterator()
    for one in (iterator, iterator, pickle.loads(pickle.dumps(ray.data.range(5).iterator()))):
        batches = one.iter_batches(batch_size=2)
        assert [batch["id"].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
        assert [row["id"] for row in one.iter_rows()] == list(range(5))


def test_it_says_what_its_dataset_says():
    iterator = ray.data.range(5).iterator()
    assert iterator.schema().names == iterator.columns() == ["id"]
    assert iterator.count() == len(iterator.to_pandas()) == 5
    assert iterator.materialize().count() == 5
    assert "Range(5)" in repr(ray.data.range(5).map(abs).iterator())
    assert iterator.stats()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"prefetch_batches": -1},
        {"batch_format": "zz"},
        {"local_shuffle_buffer_size": 5, "batch_size": None},
        {"local_shuffle_buffer_size": 0},
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_iterating(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ray.data.range(5).iterator().iter_batches(**options)


def test_without_running_ahead_nothing_is_made_before_it_is_asked_for():
    calls = []
    ds = ray.data.range(100).map_batches(lambda b: calls.append(1) or b, batch_size=10)
    batches = ds.iter_batches(prefetch_batches=0, batch_size=10)
    assert calls == []
    next(batches)
    assert calls
    batches.close()


@pytest.mark.parametrize(("shuffles", "threads"), [(False, 0), (True, 1)])
def test_what_comes_from_workers_as_it_is_needs_no_thread_to_run_ahead(shuffles, threads):
    ds = ray.data.range(100)
    made = (ds.random_shuffle(seed=1) if shuffles else ds).map_batches(lambda batch: batch)
    batches = made.iter_batches(batch_size=10)
    next(batches)
    names = [one.name for one in threading.enumerate()]
    assert names.count("heliostat-data-prefetch") <= threads
    assert sum(len(batch["id"]) for batch in batches) == 90


@pytest.mark.parametrize("of", [ray.data.Dataset, ray.data.DataIterator])
def test_each_loop_over_what_iterates_begins_anew(of):
    ds = ray.data.range(6)
    source = ds if of is ray.data.Dataset else ds.iterator()
    for made in (
        source.iter_rows(),
        source.iter_batches(batch_size=2),
        source.iter_torch_batches(batch_size=2),
    ):
        count = len(list(made))
        assert count == len(list(made)) > 0
        for _ in made:
            break
        assert len(list(made)) == count
        next(made)
        assert len(list(made)) == count - 1, "a loop goes on with the pass that next has begun"
        assert list(made) == []


def test_a_pass_that_goes_on_is_followed_by_whole_ones():
    iterator = ray.data.range(6).iterator()
    next(iterator.iter_batches(batch_size=2))
    again = ray.data.range(6).iterator()
    again.load_state(iterator.state())
    batches = again.iter_batches(batch_size=2)
    assert [len(list(batches)) for _ in range(2)] == [2, 3]


def test_what_makes_no_sense_is_told_when_batches_are_asked_for():
    with pytest.raises(ValueError, match="prefetch_batches"):
        ray.data.range(6).iter_batches(prefetch_batches=-1)
