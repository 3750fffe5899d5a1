"""How far a stream runs ahead: both ends together, whatever the order of their messages."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat._engines.local.messages import INLINE, STORED, Value
from heliostat._engines.local.scheduling.streams import (
    Allowance,
    Stream,
    cost,
    most_bytes,
    num_returns_of,
    window,
)

MOST = 10_000


def item(size: int) -> Value:
    return INLINE, bytes(size), (), ()


def test_a_window_survives_its_encoding():
    assert [window(num_returns_of(n)) for n in (None, 1, 7)] == [0, 1, 7]
    assert num_returns_of(None) == -1


def test_an_item_costs_its_bytes_and_its_place_in_the_tables():
    assert cost(item(100)) == cost((STORED, 0, (60, 40), ())) == 700


@pytest.mark.parametrize(
    ("capacity", "most"), [(1 << 20, 1 << 20), (1 << 30, 1 << 26), (1 << 40, 1 << 28)]
)
def test_one_stream_may_have_a_sixteenth_of_the_store(capacity, most):
    assert most_bytes(capacity) == most


def test_a_stream_that_was_lifted_never_stops_but_one_with_a_window_cannot_be():
    assert Stream(0, MOST).lift()
    assert not Stream(2, MOST).lift()


def test_what_a_repeated_attempt_sends_again_needs_no_taker():
    stream = Stream(2, MOST)
    for _ in range(2):
        stream.arrived(1)
        stream.yielded += 1
    stream.begin()
    for _ in range(2):
        stream.arrived(1)
        stream.gone(1)
    assert stream.credit() == (2, 2)
    stream.taken(0, 1)  # of the first attempt
    assert stream.credit() is None


class Ends:
    """Producer, scheduler and taker, with messages under way between them."""

    def __init__(self, items: int, sizes: list[int]) -> None:
        self.producer, self.stream = Allowance(items, MOST), Stream(items, MOST)
        self.to_make = deque(item(size) for size in sizes)
        self.under_way: deque[Value] = deque()
        self.credits: deque[tuple[int, int]] = deque()
        self.there: deque[tuple[int, Value]] = deque()

    def make(self) -> bool:
        while self.credits:
            self.producer.credit(*self.credits.popleft())
        if not self.to_make or self.producer.exhausted():
            return False
        self.producer.sent(self.to_make[0])
        self.under_way.append(self.to_make.popleft())
        return True

    def hear(self) -> bool:
        if not self.under_way:
            return False
        value = self.under_way.popleft()
        self.stream.arrived(cost(value))
        self.there.append((self.stream.yielded, value))
        self.stream.yielded += 1
        self.tell()
        return True

    def take(self) -> bool:
        if not self.there:
            return False
        position, value = self.there.popleft()
        self.stream.taken(position, cost(value))
        self.tell()
        return True

    def tell(self) -> None:
        told = self.stream.credit()
        if told is not None:
            self.credits.append(told)

    def ahead(self) -> list[Value]:
        return [*self.under_way, *(value for _, value in self.there)]


@given(
    items=st.integers(0, 5),
    sizes=st.lists(st.integers(0, 6_000), min_size=1, max_size=60),
    turns=st.lists(st.sampled_from([Ends.make, Ends.hear, Ends.take]), max_size=200),
)
def test_a_producer_never_waits_for_ever_nor_runs_further_ahead(items, sizes, turns):
    ends = Ends(items, sizes)
    for turn in turns:
        turn(ends)
        assert not items or len(ends.ahead()) <= items
        assert sum(map(cost, ends.ahead())) < MOST + 6_600
    while ends.make() or ends.hear() or ends.take():
        pass
    assert not ends.to_make, "the producer waits although everything was taken"
