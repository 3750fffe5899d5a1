"""Metrics by name, flat, and ranked."""

import math

from hypothesis import given
from hypothesis import strategies as st

from heliostat.tune._metrics import flatten, look_up, rank, user_metrics

ENGINE = None
VALUES = st.one_of(st.floats(), st.integers(), st.none(), st.text())


def test_a_slash_goes_one_level_down_unless_the_name_has_it():
    assert look_up({"a": {"b": 1}}, "a/b") == 1
    assert look_up({"a/b": 2, "a": {"b": 1}}, "a/b") == 2
    assert look_up({"a": 1}, "a/b") is None


def test_flat_metrics_keep_empty_dicts():
    assert flatten({"a": {"b": {"c": 1}}, "d": {}}) == {"a/b/c": 1, "d": {}}


def test_ours_are_not_the_users():
    assert user_metrics({"loss": 1, "pid": 2, "done": True}) == {"loss": 1}


@given(st.lists(VALUES), st.sampled_from(["min", "max"]))
def test_any_values_have_an_order_with_numbers_first(values, mode):
    ranked = sorted(values, key=lambda value: rank(value, mode))
    kinds = [rank(value, mode)[0] for value in ranked]
    assert kinds == sorted(kinds)
    numbers = [float(v) for v, kind in zip(ranked, kinds, strict=True) if kind == 0]
    assert numbers == sorted(numbers, reverse=mode == "max")
    assert rank(math.nan, mode)[0] == 1
