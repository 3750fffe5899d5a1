"""Median stopping: who is compared with whom, and who ends."""

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat import tune
from heliostat.tune._trial import RUNNING, Trial
from heliostat.tune.schedulers import MedianStoppingRule


class Study:
    def __init__(self, trials):
        self.trials = trials

    def get_live_trials(self):
        return self.trials


def begin(count, **given):
    rule = MedianStoppingRule(
        **{
            "time_attr": "training_iteration",
            "metric": "acc",
            "mode": "max",
            "grace_period": 2,
            "min_samples_required": 2,
            **given,
        }
    )
    study = Study([Trial(f"t{n}", "f", {}, f"{n}", "/x", {}, state=RUNNING) for n in range(count)])
    for trial in study.trials:
        rule.on_trial_add(study, trial)
    return rule, study


def report(rule, study, n, age, acc):
    result = {"training_iteration": age, "acc": acc}
    return rule.on_trial_result(study, study.trials[n], result)


def reference(trace, grace, enough):
    """The rule, plainly: reports of (trial, age, score) -> which of them end their trial."""
    seen, stopped, out = {}, set(), []
    for who, age, score in trace:
        verdict = False
        if who not in stopped:
            seen.setdefault(who, []).append((age, score))
            others = [them for it, them in seen.items() if it != who and them[-1][0] >= age]
            if age >= grace and len(others) >= enough:
                means = []
                for them in others:
                    known = [value for when, value in them if grace <= when <= age]
                    means.append(statistics.fmean(known))
                verdict = max(value for _, value in seen[who]) < statistics.median(means)
        if verdict:
            stopped.add(who)
        out.append(verdict)
    return out


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=80))
def test_decisions_on_a_trace_equal_the_plain_reference(steps):
    rule, study = begin(5)
    ages, trace, decided = [0] * 5, [], []
    for n, value in steps:
        ages[n] += 1
        trace.append((n, ages[n], float(value)))
        decided.append(report(rule, study, n, ages[n], value) == "STOP")
    assert decided == reference(trace, 2, 2)


def test_before_the_grace_period_nobody_ends():
    rule, study = begin(3)
    report(rule, study, 0, 1, 9)
    report(rule, study, 1, 1, 9)
    assert report(rule, study, 2, 1, 0) == "CONTINUE"


def test_less_than_the_median_of_the_means_ends():
    rule, study = begin(3)
    report(rule, study, 0, 2, 4)
    report(rule, study, 1, 2, 8)
    assert report(rule, study, 2, 2, 6) == "CONTINUE"
    rule, study = begin(3)
    report(rule, study, 0, 2, 4)
    report(rule, study, 1, 2, 8)
    assert report(rule, study, 2, 2, 5.9) == "STOP"
    assert rule.debug_string() == "Using MedianStoppingRule: 1 trials stopped."


def test_nan_is_worse_than_anything():
    rule, study = begin(3)
    report(rule, study, 0, 2, 4)
    report(rule, study, 1, 2, 8)
    assert report(rule, study, 2, 2, math.nan) == "STOP"


def test_infinities_of_both_kinds_have_no_mean_and_count_as_worst():
    rule, study = begin(3)
    for age, acc in ((2, math.inf), (3, -math.inf)):
        report(rule, study, 0, age, acc)
    report(rule, study, 1, 3, 0.5)
    assert report(rule, study, 2, 3, 0.0) == rule.CONTINUE
    assert report(rule, study, 2, 3, math.nan) == rule.CONTINUE


def test_with_too_few_to_compare_with_those_that_wait_get_their_turn():
    rule, study = begin(2)
    study.trials[1].state = "PENDING"
    assert report(rule, study, 0, 2, 4) == "PAUSE"
    rule, study = begin(2, min_time_slice=5)
    study.trials[1].state = "PENDING"
    assert report(rule, study, 0, 2, 4) == "CONTINUE"


def test_without_hard_stop_it_comes_last(simulate):
    rule, study = begin(3, hard_stop=False)
    report(rule, study, 0, 2, 4)
    report(rule, study, 1, 2, 8)
    assert report(rule, study, 2, 2, 1) == "PAUSE"
    ran = simulate(
        MedianStoppingRule(
            "training_iteration", "loss", "min", 2, min_samples_required=2, hard_stop=False
        ),
        lambda config, age: config["x"],
        length=10,
    )
    for trial in ran.experiment.get_trials():
        assert ran.ages_of(trial.trial_id) == list(range(1, 11))


def test_a_study_with_it_stops_the_worse_ones(run_study):
    def trial(config):
        for _ in range(6):
            tune.report({"loss": config["x"]})

    rule = MedianStoppingRule("training_iteration", grace_period=2, min_samples_required=2)
    grid = run_study(
        trial, {"x": tune.grid_search([1, 2, 3, 4])}, metric="loss", mode="min", scheduler=rule
    )
    lengths = [result.metrics["training_iteration"] for result in grid]
    assert lengths[0] == 6
    assert min(lengths) == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [({"grace_period": -1}, "grace_period"), ({"min_samples_required": 0}, "min_sam")],
)
def test_settings_that_make_no_sense_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        MedianStoppingRule(**given)
