"""HyperBand: brackets, milestones, who goes on, and that nobody waits for ever."""

import math

import pytest

from heliostat import tune
from heliostat.tune import _messages as m
from heliostat.tune._trial import Trial
from heliostat.tune.schedulers import HyperBandForBOHB, HyperBandScheduler

BAND = [(5, 81), (8, 27), (15, 9), (34, 3), (81, 1)]


def loss(config, age):
    return config["x"]


def make(**given):
    return HyperBandScheduler(**{"metric": "loss", "mode": "min", **given})


def test_the_brackets_are_those_of_the_paper():
    assert make().plan() == BAND
    assert HyperBandForBOHB(metric="loss", mode="min").plan() == BAND[::-1]


# A plain reference of one bracket: who is left, and until when they run.


def halve(losses, budget, halvings, max_t, factor):
    """Trials -> the age at which each ends."""
    left, milestone, step, goes_on = list(losses), budget, budget, len(losses)
    ends = {}
    for _ in range(halvings):
        goes_on = math.ceil(goes_on / factor)
        ranked = sorted(left, key=lambda who: losses[who])
        ends |= dict.fromkeys(ranked[goes_on:], milestone)
        left = ranked[:goes_on]
        step = min(int(step * factor), max_t - milestone)
        milestone += step
    return ends | dict.fromkeys(left, milestone)


@pytest.mark.parametrize("slots", [1, 2, 5, 30])
def test_a_whole_band_equals_the_plain_reference(simulate, slots):
    scheduler = make(max_t=9)
    samples = sum(size for size, _ in scheduler.plan())
    ran = simulate(scheduler, loss, samples=samples, slots=slots)
    trials = ran.experiment.get_trials()
    expected = {}
    for halvings, (size, budget) in enumerate(scheduler.plan()):
        bracket = {trial.trial_id: trial.config["x"] for trial in trials[:size]}
        trials = trials[size:]
        expected |= halve(bracket, budget, halvings, 9, 3)
    assert {
        t.trial_id: ran.ages_of(t.trial_id)[-1] for t in ran.experiment.get_trials()
    } == expected
    for trial in ran.experiment.get_trials():  # paused and resumed without losing a step
        assert ran.ages_of(trial.trial_id) == list(range(1, expected[trial.trial_id] + 1))


@pytest.mark.parametrize("samples", [1, 2, 4, 7, 20])
def test_a_bracket_that_is_never_full_does_not_wait_for_ever(simulate, samples):
    ran = simulate(HyperBandForBOHB(metric="loss", mode="min", max_t=27), loss, samples=samples)
    assert {trial.status for trial in ran.experiment.get_trials()} == {"TERMINATED"}
    best = min(ran.experiment.get_trials(), key=lambda trial: trial.config["x"])
    assert ran.ages_of(best.trial_id)[-1] >= 9


def test_the_others_do_not_wait_for_one_that_ended(simulate):
    ran = simulate(HyperBandForBOHB(metric="loss", mode="min", max_t=9), loss, samples=9, length=2)
    assert {trial.status for trial in ran.experiment.get_trials()} == {"TERMINATED"}


def test_trials_pause_at_the_milestone_and_the_rest_is_stopped(simulate):
    ran = simulate(HyperBandForBOHB(metric="loss", mode="min", max_t=9), loss, samples=9)
    pauses = [c for c in ran.commands if isinstance(c, m.Pause)]
    assert len(pauses) >= 8
    assert ran.experiment.failed == 0


def test_the_last_may_go_on(simulate):
    ran = simulate(make(max_t=9, stop_last_trials=False), loss, samples=3, length=12)
    assert {ran.ages_of(t.trial_id)[-1] for t in ran.experiment.get_trials()} == {12}


def test_nan_is_worse_than_anything():
    band = HyperBandForBOHB(metric="loss", mode="min", max_t=3, reduction_factor=3)

    class Study:
        def __init__(self):
            self.stopped = []
            self.trials = [Trial(f"t{n}", "f", {}, f"{n}", "/x", {}) for n in range(3)]

        def get_live_trials(self):
            return self.trials

        def stop_trial(self, trial):
            self.stopped.append(trial.trial_id)

    study = Study()
    for trial in study.trials:
        band.on_trial_add(study, trial)
    values = [math.nan, 5.0, 7.0]
    verdicts = [
        band.on_trial_result(study, trial, {"training_iteration": 1, "loss": value})
        for trial, value in zip(study.trials, values, strict=True)
    ]
    assert verdicts == ["PAUSE", "PAUSE", "STOP"]
    assert study.stopped == ["t0"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_t": 0}, "max_t"),
        ({"reduction_factor": 1}, "reduction_factor"),
        ({"mode": "x"}, "'x'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, says):
    with pytest.raises(ValueError, match=says):
        make(**given)


def test_without_a_metric_there_is_nothing_to_compare():
    with pytest.raises(tune.TuneError, match="needs a metric and a mode"):
        HyperBandScheduler().on_trial_add(None, Trial("t", "f", {}, "0", "/x", {}))


def test_it_says_what_is_in_its_brackets():
    band = make(max_t=9)
    assert band.debug_string() == "Using HyperBandScheduler: no trials yet"
    band.on_trial_add(None, Trial("t", "f", {}, "0", "/x", {}))
    assert band.debug_string() == "Using HyperBandScheduler: 1 of 3 to 9"


class Climber(tune.Trainable):
    def setup(self, config):
        self.x = 0

    def step(self):
        self.x += 1
        return {"loss": self.config["base"] - self.x / 100, "x": self.x}

    def save_checkpoint(self, checkpoint_dir):
        return {"x": self.x}

    def load_checkpoint(self, checkpoint):
        self.x = checkpoint["x"]


def test_a_study_with_it_goes_on_from_checkpoints(run_study):
    grid = run_study(
        Climber,
        {"base": tune.grid_search([1, 2, 3, 4, 5, 6, 7, 8, 9])},
        metric="loss",
        mode="min",
        scheduler=HyperBandForBOHB(max_t=9),
    )
    assert grid.num_terminated == 9
    assert grid.get_best_result().config == {"base": 1}
    for result in grid:
        assert result.metrics["x"] == result.metrics["training_iteration"] == len(result.history)
