"""ASHA: rungs, cutoffs, what is stopped and what is not."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat import tune
from heliostat.tune._trial import Trial
from heliostat.tune.schedulers import ASHAScheduler, AsyncHyperBandScheduler
from heliostat.tune.schedulers.async_hyperband import quantile

ENGINE = None


def begin(count, **settings):
    asha = ASHAScheduler(**{"metric": "loss", "mode": "min", **settings})
    trials = [Trial(f"t{n}", "f", {}, "0", "/x", {}) for n in range(count)]
    for trial in trials:
        asha.on_trial_add(None, trial)
    return asha, trials


def report(asha, trial, age, loss):
    return asha.on_trial_result(None, trial, {"training_iteration": age, "loss": loss})


def test_rungs_grow_by_the_factor():
    assert ASHAScheduler(max_t=9, reduction_factor=3).rungs == [[9, 3, 1]]
    assert ASHAScheduler(max_t=100, grace_period=5, brackets=2).rungs == [[80, 20, 5], [80, 20]]
    assert AsyncHyperBandScheduler is ASHAScheduler


def test_the_first_at_a_rung_goes_on_and_worse_ones_stop():
    asha, (a, b, c) = begin(3, max_t=9, reduction_factor=3)
    assert report(asha, a, 1, 1.0) == "CONTINUE"
    assert report(asha, b, 1, 2.0) == "STOP"
    assert report(asha, c, 1, 0.5) == "CONTINUE"


def test_max_means_that_more_is_better():
    asha, (a, b) = begin(2, mode="max")
    report(asha, a, 1, 1.0)
    assert report(asha, b, 1, 2.0) == "CONTINUE"


def test_between_rungs_nothing_is_judged():
    asha, (a, b) = begin(2, max_t=9, reduction_factor=3, grace_period=3)
    report(asha, a, 3, 1.0)
    assert report(asha, b, 2, 99.0) == "CONTINUE"
    assert report(asha, a, 4, 99.0) == "CONTINUE"
    assert report(asha, b, 3, 99.0) == "STOP"


def test_the_last_rung_ends_a_trial_unless_told_not_to():
    asha, (a,) = begin(1, max_t=9)
    assert report(asha, a, 9, 1.0) == "STOP"
    asha, (a,) = begin(1, max_t=9, stop_last_trials=False)
    assert report(asha, a, 9, 1.0) == "CONTINUE"
    assert report(asha, a, 10, 1.0) == "CONTINUE"


def test_nan_is_worse_than_anything():
    asha, (a, b, c) = begin(3)
    report(asha, a, 1, 1.0)
    assert report(asha, b, 1, math.nan) == "STOP"
    assert report(asha, c, 1, 0.5) == "CONTINUE"


def test_a_report_without_age_or_metric_changes_nothing():
    asha, (a,) = begin(1)
    assert asha.on_trial_result(None, a, {"loss": 1}) == "CONTINUE"
    assert asha.on_trial_result(None, a, {"training_iteration": 1}) == "CONTINUE"


def test_trials_are_spread_over_the_ladders():
    asha, trials = begin(3, max_t=16, brackets=2)
    for trial in trials:
        report(asha, trial, 4, 1.0)
    assert asha.debug_string() == "Using AsyncHyperBand: 16: 0, 4: 2, 1: 0, 16: 0, 4: 1"


@given(st.lists(st.floats(allow_infinity=True), min_size=1, max_size=30))
def test_the_best_so_far_always_goes_on(losses):
    asha, trials = begin(len(losses))
    best = math.inf
    for trial, loss in zip(trials, losses, strict=True):
        verdict = report(asha, trial, 1, loss)
        if loss <= best:
            best = loss
            assert verdict == "CONTINUE"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"max_t": 0}, "grace_period"),
        ({"grace_period": 0}, "grace_period"),
        ({"grace_period": 7, "max_t": 5}, "got 7 and 5"),
        ({"reduction_factor": 1}, "reduction_factor"),
        ({"brackets": 0}, "brackets"),
        ({"mode": "best"}, "'best'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        ASHAScheduler(**settings)


def test_without_a_metric_there_is_nothing_to_compare():
    with pytest.raises(tune.TuneError, match="needs a metric and a mode"):
        begin(1, metric=None)


def test_a_study_with_it_stops_most_trials_early(run_study):
    import heliostat

    def trial(config):
        for _ in range(9):
            tune.report({"loss": config["x"]})

    heliostat.init(engine="inline", num_cpus=2)
    asha = ASHAScheduler(max_t=9, reduction_factor=3)
    space = {"x": tune.grid_search(list(range(9)))}
    for _ in range(2):  # the scheduler of a config may serve again
        grid = run_study(trial, space, metric="loss", mode="min", scheduler=asha)
        ages = [result.metrics["training_iteration"] for result in grid]
        assert ages == [9, 1, 1, 1, 1, 1, 1, 1, 1]
    heliostat.shutdown()


# A plain reference: what ASHA says about a list of reports, by its paper and Ray's documentation.


def reference(trace, *, max_t, grace, factor):
    """The verdict about each (trial, age, loss), less being better."""
    rungs = []
    while grace <= max_t:
        rungs.insert(0, grace)
        grace *= factor
    seen = {rung: {} for rung in rungs}
    verdicts = []
    for trial, age, loss in trace:
        verdict = "CONTINUE"
        if age >= max_t:
            verdict = "STOP"
        else:
            rung = next((r for r in rungs if age >= r and trial not in seen[r]), None)
            if rung is not None:
                others = sorted(seen[rung].values())
                seen[rung][trial] = loss
                if others:
                    at = (len(others) - 1) / factor
                    low, high = others[math.floor(at)], others[math.ceil(at)]
                    if loss > low + (high - low) * (at - math.floor(at)) + 1e-9:
                        verdict = "STOP"
        verdicts.append(verdict)
    return verdicts


@given(
    seed=st.integers(0, 2**16),
    max_t=st.integers(2, 40),
    grace=st.integers(1, 3),
    factor=st.sampled_from([2, 3, 4]),
)
def test_decisions_on_a_trace_equal_the_plain_reference_and_wait_for_their_turn(
    seed, max_t, grace, factor
):
    grace = min(grace, max_t)
    asha, trials = begin(8, max_t=max_t, grace_period=grace, reduction_factor=factor)
    draw = random.Random(seed)
    running = dict.fromkeys(trials, 0)
    trace, verdicts = [], []
    while running:
        trial = draw.choice(list(running))
        running[trial] = age = running[trial] + 1
        turn = asha.next_turn(trial)
        loss = draw.random()
        verdict = report(asha, trial, age, loss)
        assert verdict == "CONTINUE" or age >= turn
        trace.append((trial.trial_id, age, loss))
        verdicts.append(verdict)
        if verdict == "STOP":
            del running[trial]
    assert verdicts == reference(trace, max_t=max_t, grace=grace, factor=factor)


def test_one_with_other_rules_or_another_clock_is_asked_each_time():
    class Mine(ASHAScheduler):
        def on_trial_result(self, tune_controller, trial, result):
            return self.STOP

    assert Mine().next_turn(Trial("a", "f", {}, "0", "/x", {})) == 0
    asha, (a,) = begin(1, time_attr="time_total_s")
    assert asha.next_turn(a) == 0


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(1.01, 9))
def test_the_edge_of_a_rung_is_numpys_quantile_to_the_last_bit(scores, factor):
    assert quantile(sorted(scores), 1 - 1 / factor) == np.quantile(scores, 1 - 1 / factor)


@given(st.lists(st.sampled_from([-math.inf, 0.0, 1.0, math.inf]), min_size=1), st.floats(1.01, 9))
def test_with_infinities_the_edge_of_a_rung_is_the_lower_neighbour(scores, factor):
    expected = np.quantile(scores, 1 - 1 / factor, method="lower")
    assert quantile([*sorted(scores), math.inf], 0.0) == min(scores)
    if not all(map(math.isfinite, scores)):
        assert quantile(sorted(scores), 1 - 1 / factor) == expected
