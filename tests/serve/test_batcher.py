"""Batcher: rules by example, then any history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from heliostat.serve._batcher import (
    Arrived,
    BatchDone,
    Batcher,
    Configured,
    RunBatch,
    Tick,
    Withdrawn,
)


def test_a_full_batch_begins_at_once_and_the_rest_waits():
    batcher = Batcher(2, 1.0, 1)
    assert batcher.handle(Arrived(1, 1, ""), 0) == []
    assert batcher.next_tick() == 1.0
    assert batcher.handle(Arrived(2, 1, ""), 0) == [RunBatch((1, 2))]
    assert batcher.handle(Arrived(3, 1, ""), 0) == []
    assert batcher.next_tick() is None  # nothing can begin before the batch is over
    assert batcher.handle(BatchDone(), 0.5) == []
    assert batcher.handle(Tick(), 1.0) == [RunBatch((3,))]


def test_a_batch_that_has_waited_long_enough_begins_without_being_full():
    batcher = Batcher(10, 1.0, 1)
    batcher.handle(Arrived(1, 1, ""), 0)
    assert batcher.handle(Tick(), 0.5) == []
    assert batcher.handle(Tick(), 1.0) == [RunBatch((1,))]


def test_sizes_add_up_and_an_item_that_is_too_large_is_a_batch_by_itself():
    batcher = Batcher(10, 1.0, 9)
    assert batcher.handle(Arrived(1, 6, ""), 0) == []
    assert batcher.handle(Arrived(2, 6, ""), 0) == [RunBatch((1,))]
    assert batcher.handle(Arrived(3, 99, ""), 0) == [RunBatch((2,)), RunBatch((3,))]


def test_models_are_never_in_one_batch():
    batcher = Batcher(2, 1.0, 9)
    assert batcher.handle(Arrived(1, 1, "a"), 0) == []
    assert batcher.handle(Arrived(2, 1, "b"), 0) == []
    assert batcher.handle(Arrived(3, 1, "a"), 0) == [RunBatch((1, 3))]


def test_what_nobody_waits_for_is_not_run():
    batcher = Batcher(2, 1.0, 1)
    batcher.handle(Arrived(1, 1, ""), 0)
    assert batcher.handle(Withdrawn(1), 0) == []
    assert batcher.next_tick() is None


def test_a_smaller_limit_sends_what_waits_on_its_way():
    batcher = Batcher(10, 9.0, 2)
    for key in range(3):
        batcher.handle(Arrived(key, 1, ""), 0)
    assert batcher.handle(Configured(2, 9.0), 0) == [RunBatch((0, 1))]


@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from("aawdt"), st.integers(0, 6), st.sampled_from("xy"))),
)
def test_every_item_runs_exactly_once_unless_it_was_withdrawn(most, concurrent, history):
    batcher, now, running = Batcher(most, 1.0, concurrent), 0.0, 0
    arrived: dict[int, int] = {}
    seen: list[int] = []
    withdrawn: set[int] = set()

    def feed(event: object) -> None:
        nonlocal running
        for batch in batcher.handle(event, now):  # type: ignore[arg-type]
            running += 1
            seen.extend(batch.keys)
            size = sum(arrived[key] for key in batch.keys)
            assert size <= most or len([k for k in batch.keys if arrived[k]]) == 1
        batcher.check()

    for key, (what, size, group) in enumerate(history):
        now += 0.3
        if what == "a":
            arrived[key] = size
            feed(Arrived(key, size, group))
        elif what == "w" and set(arrived) - set(seen):
            gone = min(set(arrived) - set(seen))
            withdrawn.add(gone)
            feed(Withdrawn(gone))
        elif what == "d" and running:
            running -= 1
            feed(BatchDone())
        else:
            feed(Tick())
    while running or batcher.waiting:
        if running:
            running -= 1
            feed(BatchDone())
        now = max(now, batcher.next_tick() or now)
        feed(Tick())
    assert sorted(seen) == sorted(set(arrived) - withdrawn)
