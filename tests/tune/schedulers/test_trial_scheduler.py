"""What every scheduler does unless it says otherwise."""

import math

import pytest

from heliostat import tune
from heliostat.tune._trial import Trial
from heliostat.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from heliostat.tune.schedulers.pb2 import PB2

ENGINE = None


def test_who_decides_is_asked_after_each_report_and_who_does_not_never():
    assert TrialScheduler().next_turn(Two.trials[0]) == 0
    assert FIFOScheduler().next_turn(Two.trials[0]) == math.inf


class Two:
    trials = (Trial("a", "f", {}, "0", "/x", {}), Trial("b", "f", {}, "0", "/x", {}))

    def get_trials(self):
        return list(self.trials)

    def get_waiting_trials(self):
        return list(self.trials[1:])


def test_everything_goes_on_in_the_order_it_waits():
    scheduler = FIFOScheduler()
    assert scheduler.on_trial_result(Two(), Two.trials[0], {}) == TrialScheduler.CONTINUE
    assert scheduler.choose_trial_to_run(Two()) is Two.trials[1]
    assert scheduler.debug_string() == "Using FIFOScheduler."


def test_a_metric_is_given_once():
    scheduler = TrialScheduler()
    assert scheduler.set_search_properties("loss", "min")
    assert scheduler.metric == "loss"
    assert not scheduler.set_search_properties("auc", None)
    assert scheduler.set_search_properties(None, None)


_ODD = ("a", [1], None, math.nan, math.inf, -math.inf, {"b": 2}, 0.5)
_MUTATIONS = {"x": tune.uniform(0, 1)}


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **goal: ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3, **goal),
        lambda **goal: HyperBandScheduler(max_t=9, **goal),
        lambda **goal: MedianStoppingRule(grace_period=1, min_samples_required=1, **goal),
        lambda **goal: PopulationBasedTraining(
            "training_iteration", perturbation_interval=2, hyperparam_mutations=_MUTATIONS,
            require_attrs=False, **goal,
        ),
        lambda **goal: PB2(
            "training_iteration", perturbation_interval=2, hyperparam_bounds={"x": [0, 1]},
            require_attrs=False, **goal,
        ),
    ],
    ids=["asha", "hyperband", "median", "pbt", "pb2"],
)  # fmt: skip
def test_a_metric_that_is_no_number_is_worse_than_any_and_ends_no_study(make, mode, simulate):
    ran = simulate(
        make(metric="loss", mode=mode),
        lambda config, age: _ODD[(int(config["x"] * 1000) + age // 3) % len(_ODD)],
        samples=8,
        length=9,
        save_every=1,
    )
    assert {trial.state for trial in ran.experiment.get_trials()} == {"TERMINATED"}


@pytest.mark.parametrize("make", [ASHAScheduler, HyperBandScheduler, MedianStoppingRule])
def test_reports_without_an_age_are_told_of_once(make, simulate, caplog):
    scheduler = make(time_attr="epoch", metric="loss", mode="min")
    ran = simulate(scheduler, lambda config, age: config["x"], samples=3, length=4)
    assert {trial.state for trial in ran.experiment.get_trials()} == {"TERMINATED"}
    (told,) = (one.getMessage() for one in caplog.records if one.levelname == "WARNING")
    assert f"{make.__name__} stops nothing: it counts age by 'epoch', but reports have only" in told
    assert "'loss'" in told
