"""Knobs."""

import pytest

from heliostat.data import DataContext


def test_there_is_one_context_and_copies_are_apart():
    context = DataContext.get_current()
    assert DataContext.get_current() is context
    copy = context.copy()
    copy.target_max_block_size = 1
    assert context.target_max_block_size == 128 << 20


def test_a_knob_that_does_not_exist_cannot_be_set():
    with pytest.raises(AttributeError):
        DataContext.get_current().no_such_knob = 1
