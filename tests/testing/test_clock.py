"""Time in tests."""

import pytest

from heliostat.testing.clock import FakeClock, until


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(5.0)
    assert (clock(), clock()) == (5.0, 5.0)
    clock.advance(1.5)
    assert clock() == 6.5


def test_a_clock_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="-1"):
        FakeClock().advance(-1)


def test_until_gives_the_first_true_value() -> None:
    values = iter([0, "", [], "there", "too late"])
    assert until(lambda: next(values)) == "there"


def test_until_gives_up_and_says_what_it_saw() -> None:
    with pytest.raises(AssertionError, match=r"the sun rises.*\[\]"):
        until(list, "the sun rises", timeout_s=0.01)


def test_until_refuses_a_time_where_words_belong() -> None:
    with pytest.raises(TypeError, match="got 60: give timeout_s by name"):
        until(list, 60)  # type: ignore[arg-type]
