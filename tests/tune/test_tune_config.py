"""TuneConfig refuses what makes no sense, when it is made."""

from datetime import timedelta

import pytest

from heliostat import tune
from heliostat.tune.search import BasicVariantGenerator, ConcurrencyLimiter

ENGINE = None


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"mode": "best"}, ValueError, "got 'best'"),
        ({"metric": "loss"}, ValueError, "needs a mode"),
        ({"metric": 3, "mode": "min"}, TypeError, "got 3"),
        ({"num_samples": 0}, ValueError, "num_samples"),
        ({"num_samples": -2}, ValueError, "num_samples"),
        ({"num_samples": 1.5}, TypeError, "num_samples"),
        ({"max_concurrent_trials": -1}, ValueError, "max_concurrent_trials"),
        ({"time_budget_s": 0}, ValueError, "time_budget_s"),
        ({"time_budget_s": "x"}, TypeError, "seconds or a timedelta, got 'x'"),
        ({"search_alg": "random"}, TypeError, "search_alg must be a Searcher"),
        ({"scheduler": "fifo"}, TypeError, "scheduler must be a TrialScheduler"),
        ({"trial_name_creator": "x"}, TypeError, "trial_name_creator"),
        ({"max_concurrent_trials": 1.5}, ValueError, "whole number >= 0, got 1.5"),
        ({"reuse_actors": "yes"}, TypeError, "reuse_actors must be True, False or None, got 'yes'"),
        (
            {
                "max_concurrent_trials": 2,
                "search_alg": ConcurrencyLimiter(BasicVariantGenerator(), 1),
            },
            ValueError,
            "drop one",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(values, error, says):
    with pytest.raises(error, match=says):
        tune.TuneConfig(**values)


def test_a_budget_may_be_a_timedelta():
    assert tune.TuneConfig(time_budget_s=timedelta(minutes=1)).budget_s == 60
    assert tune.TuneConfig().budget_s is None


def test_whether_trials_change_their_directory_is_yes_or_no(monkeypatch):
    monkeypatch.delenv("RAY_CHDIR_TO_TRIAL_DIR", raising=False)
    assert tune.TuneConfig().changes_directory
    assert not tune.TuneConfig(chdir_to_trial_dir=False).changes_directory
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    assert not tune.TuneConfig().changes_directory
    with pytest.raises(TypeError, match="chdir_to_trial_dir must be True, False or None, got 'x'"):
        tune.TuneConfig(chdir_to_trial_dir="x")
