"""Stoppers, and what RunConfig(stop=) may be."""

import math
from datetime import timedelta

import pytest

from heliostat import tune
from heliostat.tune.error import TuneError
from heliostat.tune.stopper import (
    CombinedStopper,
    ExperimentPlateauStopper,
    FunctionStopper,
    MaximumIterationStopper,
    MetricStopper,
    NoopStopper,
    TimeoutStopper,
    TrialPlateauStopper,
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


def verdicts(stopper, values, trial_id="1"):
    return [stopper(trial_id, {"loss": value}) for value in values]


def test_a_trial_that_stands_still_ends_after_its_grace_period():
    stopper = TrialPlateauStopper("loss", std=0.01, num_results=2, grace_period=3)
    assert verdicts(stopper, [1, 1, 1]) == [False, False, True]
    assert verdicts(stopper, [1, 2, 3, 3, math.nan], "2") == [False, False, False, True, False]
    assert not stopper.stop_all()


def test_a_trial_that_is_not_good_enough_goes_on_though_it_stands_still():
    given = {"num_results": 2, "grace_period": 2, "metric_threshold": 1.0}
    assert verdicts(TrialPlateauStopper("loss", mode="min", **given), [2, 2, 1, 1])[1:] == [
        False, False, True,
    ]  # fmt: skip
    assert verdicts(TrialPlateauStopper("loss", mode="max", **given), [0, 0, 1, 1])[-1]
    with pytest.raises(ValueError, match='mode must be "min" or "max", got None'):
        TrialPlateauStopper("loss", **given)
    with pytest.raises(ValueError, match="num_results"):
        TrialPlateauStopper("loss", num_results=0)


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_a_study_ends_when_its_best_stand_still_for_long_enough(mode, sign):
    stopper = ExperimentPlateauStopper("loss", top=2, mode=mode, patience=2)
    values = [sign * value for value in (3, 1, 1, 9, 0.5)]
    assert verdicts(stopper, values) == [False, False, False, True, False]
    assert not stopper.stop_all()


def test_what_makes_no_sense_for_a_plateau_is_refused_and_a_missing_metric_named():
    for wrong in ({"mode": "best"}, {"std": 0}, {"top": 1}, {"patience": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ExperimentPlateauStopper("loss", **wrong)
    with pytest.raises(TuneError, match=r"'loss', of which trial 1 reported None .*\['acc'\]"):
        TrialPlateauStopper("loss")("1", {"acc": 1})


@pytest.mark.parametrize(
    "make",
    [
        lambda: as_stopper({"loss": "a"}),
        lambda: MaximumIterationStopper("a"),
        lambda: TimeoutStopper("a"),
        lambda: CombinedStopper("a"),
    ],
)
def test_what_no_stopper_can_count_with_is_named(make):
    with pytest.raises(TypeError, match="got 'a'"):
        make()


def test_a_function_of_other_arguments_is_refused_at_once():
    with pytest.raises(
        TypeError, match=r"\(trial_id, result\), but the arguments of .* \(result\)"
    ):
        as_stopper(lambda result: True)
    assert as_stopper(lambda *both: True)("1", {})


def test_a_limit_for_what_is_no_number_is_named():
    with pytest.raises(TuneError, match=r"stop={'loss': 1}\) needs a number, but trial 7.*'low'"):
        MetricStopper({"loss": 1})("7", {"loss": "low"})


@pytest.mark.parametrize(("mode", "best"), [("min", [1, 2]), ("max", [3, 2])])
def test_what_is_not_a_number_is_among_no_best(mode, best):
    stopper = ExperimentPlateauStopper("loss", top=2, mode=mode)
    for value in (2.0, math.nan, 3.0, math.nan, 1.0):
        stopper("1", {"loss": value})
    assert stopper._best == best
