"""TrialActor, called as Core would call it."""

import pytest

from heliostat import tune
from heliostat.tune import session
from heliostat.tune._messages import Order
from heliostat.tune._runnable import FunctionRunnable
from heliostat.tune._trial_actor import TrialActor

ENGINE = None


@pytest.fixture
def order(tmp_path):
    def make(trial_id="t", lockstep=True):
        path = str(tmp_path / trial_id)
        return Order(trial_id, trial_id, "s", "0", {"n": 2}, path, {}, None, 0, {}, lockstep)

    return make


def steps(config):
    for n in range(config["n"]):
        tune.report({"n": n})


def test_one_actor_hosts_trial_after_trial(order):
    actor = TrialActor(FunctionRunnable(steps))
    for trial_id in ("a", "b"):
        assert actor.start(order(trial_id)).reports[0].metrics["n"] == 0
        assert actor.next().reports[0].metrics["n"] == 1
        assert actor.next() == ([], True, None)


def test_a_stopped_trial_makes_way_for_the_next(order):
    actor = TrialActor(FunctionRunnable(steps))
    actor.start(order("a"))
    assert actor.stop(save=False).done
    assert actor.start(order("b")).reports[0].metrics["trial_id"] == "b"
    assert actor.stop(save=False).done


def test_a_trial_that_does_not_end_when_told_to_is_an_error(order, monkeypatch):
    monkeypatch.setattr(session, "STOP_GRACE_S", 0.01)
    go = session.threading.Event()

    def stubborn(config):
        try:
            tune.report({"n": 1})
        finally:
            go.wait(10)

    actor = TrialActor(FunctionRunnable(stubborn))
    actor.start(order())
    with pytest.raises(tune.TuneError, match="did not end"):
        actor.stop(save=False)
    go.set()


def test_sys_exit_is_an_error_of_the_trial(order):
    def leave(config):
        raise SystemExit(4)

    with pytest.raises(tune.TuneError, match=r"SystemExit\(4\)"):
        TrialActor(FunctionRunnable(leave)).start(order())
