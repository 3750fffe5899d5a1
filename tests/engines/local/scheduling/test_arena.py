"""The allocator: ranges never overlap, nothing is lost, used memory comes first."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from heliostat._engines.local.scheduling.arena import ALIGN, Arena

CAPACITY = 40 * ALIGN


def rounded(size: int) -> int:
    return max(1, -(-size // ALIGN)) * ALIGN


def test_a_freed_range_is_used_before_a_fresh_one() -> None:
    arena = Arena(CAPACITY)
    first = arena.allocate(ALIGN)
    arena.allocate(ALIGN)
    assert first is not None
    arena.free(first.offset)
    assert arena.allocate(ALIGN) == (first.offset, False)


def test_the_smallest_range_that_fits_is_taken() -> None:
    arena = Arena(CAPACITY)
    large, _, small, _ = (arena.allocate(pages * ALIGN) for pages in (3, 1, 2, 1))
    assert large is not None
    assert small is not None
    arena.free(large.offset)
    arena.free(small.offset)
    assert arena.allocate(2 * ALIGN) == (small.offset, False)


def test_free_neighbours_become_one_range() -> None:
    arena = Arena(3 * ALIGN)
    for extent in [arena.allocate(ALIGN) for _ in range(3)]:
        assert extent is not None
        arena.free(extent.offset)
    assert arena.allocate(3 * ALIGN) == (0, False)


def test_what_does_not_fit_changes_nothing() -> None:
    arena = Arena(2 * ALIGN)
    assert arena.allocate(3 * ALIGN) is None
    arena.check()
    assert arena.allocate(2 * ALIGN) is not None
    assert arena.allocate(1) is None
    assert arena.largest() == 0


def test_freeing_what_was_not_granted_is_an_error() -> None:
    with pytest.raises(KeyError):
        Arena(ALIGN).free(0)


class ArenaMachine(RuleBasedStateMachine):
    granted = Bundle("granted")

    def __init__(self) -> None:
        super().__init__()
        self.arena = Arena(CAPACITY)
        self.held: dict[int, int] = {}
        self.touched = 0

    @rule(target=granted, size=st.integers(0, 12 * ALIGN))
    def allocate(self, size: int) -> int:
        largest = self.arena.largest()
        extent = self.arena.allocate(size)
        if extent is None:
            assert largest < rounded(size)
            return -1
        assert largest >= rounded(size)
        end = extent.offset + rounded(size)
        assert end <= CAPACITY
        for offset, length in self.held.items():
            assert end <= offset or offset + length <= extent.offset
        assert extent.fresh == (end > self.touched)
        self.touched = max(self.touched, end)
        self.held[extent.offset] = rounded(size)
        return extent.offset

    @rule(offset=consumes(granted))
    def free(self, offset: int) -> None:
        if offset >= 0:
            self.arena.free(offset)
            del self.held[offset]

    @invariant()
    def is_sane(self) -> None:
        self.arena.check()
        assert self.arena.used == sum(self.held.values())

    def teardown(self) -> None:
        for offset in self.held:
            self.arena.free(offset)
        self.arena.check()
        assert self.arena.largest() == CAPACITY


TestArena = ArenaMachine.TestCase
TestArena.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
