"""What every scheduler does unless it says otherwise."""

import math

from heliostat.tune._trial import Trial
from heliostat.tune.schedulers import FIFOScheduler, TrialScheduler

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
