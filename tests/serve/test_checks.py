"""Checks: names and values in errors."""

from __future__ import annotations

import math

import pytest

from heliostat.serve._checks import not_negative, positive, whole


def test_whole_numbers():
    whole("n", 1, 1)
    for bad in (True, 1.0, "1"):
        with pytest.raises(TypeError, match="n must be an int"):
            whole("n", bad, 0)
    with pytest.raises(ValueError, match="n must be >= 1, got 0"):
        whole("n", 0, 1)


def test_positive_numbers():
    positive("t", 0.1)
    with pytest.raises(TypeError, match="t must be a number"):
        positive("t", "1")  # type: ignore[arg-type]
    for bad in (0, -1, math.nan):
        with pytest.raises(ValueError, match="t must be > 0"):
            positive("t", bad)


def test_numbers_that_may_be_nothing():
    not_negative("t", 0)
    with pytest.raises(TypeError, match="t must be a number, got '1'"):
        not_negative("t", "1")  # type: ignore[arg-type]
    for bad in (-1, math.nan):
        with pytest.raises(ValueError, match="t must be >= 0"):
            not_negative("t", bad)
