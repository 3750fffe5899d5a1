"""Stoppers, and what RunConfig(stop=) may be."""

import math
from datetime import timedelta

import pytest

from heliostat import tune
from heliostat.tune.stopper import (
    CombinedStopper,
    FunctionStopper,
    MaximumIterationStopper,
    MetricStopper,
    NoopStopper,
    TimeoutStopper,
    as_stopper,
)

ENGINE = None


def test_any_metric_that_reaches_its_value_stops():
    stop = MetricStopper({"acc": 0.9, "eval/n": 3})
    assert not stop("t", {"acc": 0.5, "eval": {"n": 1}})
    assert stop("t", {"acc": 0.5, "eval": {"n": 3}})
    assert not stop.stop_all()


def test_a_metric_that_is_missing_is_named():
    with pytest.raises(tune.TuneError, match=r"'acc'.*reported \['loss'\]"):
        MetricStopper({"acc": 1})("t", {"loss": 1})


def test_iterations_are_counted_for_each_trial():
    stop = MaximumIterationStopper(2)
    assert [stop("a", {}), stop("b", {}), stop("a", {})] == [False, False, True]
    assert not stop.stop_all()


def test_a_timeout_ends_the_study_not_a_trial():
    stop = TimeoutStopper(timedelta(seconds=0))
    assert not stop("t", {})
    assert stop.stop_all()
    assert not TimeoutStopper(60).stop_all()


def test_all_of_several_stoppers_hear_each_report():
    first, second = MaximumIterationStopper(1), MaximumIterationStopper(2)
    both = CombinedStopper(first, second)
    assert both("t", {})
    assert second("t", {})
    assert not both.stop_all()
    assert both.decides
    assert not CombinedStopper(NoopStopper()).decides


def test_stop_may_be_given_in_many_forms():
    assert isinstance(as_stopper(None), NoopStopper)
    assert isinstance(as_stopper({}), NoopStopper)
    assert isinstance(as_stopper({"a": 1}), MetricStopper)
    assert isinstance(as_stopper(lambda trial_id, result: True), FunctionStopper)
    assert isinstance(as_stopper([{"a": 1}, MaximumIterationStopper(1)]), CombinedStopper)
    assert as_stopper(lambda trial_id, result: 1)("t", {}) is True
    with pytest.raises(TypeError, match="got 3"):
        as_stopper(3)


def test_a_stopper_says_from_which_iteration_on_it_must_be_asked():
    assert NoopStopper().next_turn("t", 1) == math.inf
    assert FunctionStopper(lambda trial_id, result: False).next_turn("t", 1) == 0
    assert MetricStopper({"training_iteration": 7}).next_turn("t", 1) == 7
    assert MetricStopper({"training_iteration": 7, "loss": 1}).next_turn("t", 1) == 0
    counts = MaximumIterationStopper(5)
    assert counts.next_turn("t", 10) == 15
    counts("t", {})
    assert counts.next_turn("t", 11) == 15
    assert CombinedStopper(counts, NoopStopper()).next_turn("t", 11) == 15
