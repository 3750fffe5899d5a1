"""TrialActor, called as Core would call it."""

import math
import sys
import threading
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune import _trial_actor, session
from heliostat.tune._messages import Order
from heliostat.tune._runnable import FunctionRunnable
from heliostat.tune._trial_actor import TrialActor

ENGINE = None


@pytest.fixture
def order(tmp_path):
    def make(trial_id="t", hold_at=0.0, **config):
        path = str(tmp_path / trial_id)
        config = {"n": 2, **config}
        return Order(trial_id, 1, trial_id, "s", "0", config, path, {}, None, 0, {}, hold_at)

    return make


def steps(config):
    for n in range(config["n"]):
        tune.report({"n": n})


def test_one_actor_hosts_trial_after_trial(order):
    actor = TrialActor(FunctionRunnable(steps))
    for trial_id in ("a", "b"):
        [first] = actor.start([order(trial_id)])
        assert first.reports[0].metrics["n"] == 0
        [second] = actor.next(0)
        assert second.reports[0].metrics["n"] == 1
        assert actor.next(0) == [(trial_id, 1, [], True, None)]


def test_a_stopped_trial_makes_way_for_the_next(order):
    actor = TrialActor(FunctionRunnable(steps))
    actor.start([order("a")])
    assert actor.stop(save=False)[0].done
    [update] = actor.start([order("b")])
    assert update.reports[0].metrics["trial_id"] == "b"
    assert actor.stop(save=False)[0].done


def said(updates):
    """Of each attempt its trial, what it reported, and whether it ended."""
    return [(u.trial_id, [r.metrics["n"] for r in u.reports], u.done) for u in updates]


def test_trials_of_a_lot_run_one_after_the_other_and_answer_together(order):
    actor = TrialActor(FunctionRunnable(steps))
    updates = actor.start([order(trial_id, math.inf) for trial_id in "abc"])
    assert said(updates) == [(trial_id, [0, 1], True) for trial_id in "abc"]


def test_trials_behind_one_that_takes_long_are_handed_back_without_having_begun(order):
    go = threading.Event()

    def wait(config):
        tune.report({"n": config["n"]})
        if config["n"] == 1:
            go.wait(60)

    actor = TrialActor(FunctionRunnable(wait))
    orders = [order(trial_id, math.inf, n=n) for n, trial_id in enumerate("abcd")]
    assert said(actor.start(orders)) == [("a", [0], True), ("b", [1], False)]
    go.set()
    assert said(actor.next(math.inf)) == [("b", [], True)]
    assert not Path(orders[2].path).exists()


def test_an_attempt_whose_end_is_known_takes_none_of_the_next_lot(order, monkeypatch):
    monkeypatch.setattr(_trial_actor, "SPAN_S", 10)
    never = threading.Event()

    def dawdle(frame, event, arg):
        if event == "call" and frame.f_code.co_name == "_pass_on":
            sys.setprofile(None)
            never.wait(0.1)

    def trial(config):
        if config["n"] == 0:
            sys.setprofile(dawdle)  # its thread is slow after its end
        if config["n"] == 1:
            never.wait(0.3)
        return {"n": config["n"]}

    actor = TrialActor(FunctionRunnable(trial))
    a, b, c = (order(trial_id, math.inf, n=n) for n, trial_id in enumerate("abc"))
    assert said(actor.start([a])) == [("a", [0], True)]
    assert said(actor.start([b, c])) == [("b", [1], True), ("c", [2], True)]


def test_a_lot_ends_with_the_trial_that_fails_and_its_error_comes_alone(order):
    def fail(config):
        if config["n"]:
            raise ValueError("no")
        return {"n": 0}

    actor = TrialActor(FunctionRunnable(fail))
    orders = [order(trial_id, math.inf, n=n) for n, trial_id in enumerate("abc")]
    assert said(actor.start(orders)) == [("a", [0], True), ("b", [], False)]
    with pytest.raises(ValueError, match="no"):
        actor.next(math.inf)


def test_a_report_for_which_the_disk_has_no_room_is_its_trials_failure_and_not_lost(order):
    def trial(config):
        if config["n"]:
            Path(tune.get_context().get_trial_dir(), "result.json").symlink_to("/dev/full")
        return {"n": config["n"]}

    actor = TrialActor(FunctionRunnable(trial))
    orders = [order(trial_id, math.inf, n=n) for n, trial_id in enumerate("abc")]
    assert said(actor.start(orders)) == [("a", [0], True), ("b", [], False)]
    assert said(actor.next(math.inf)) == [("b", [1], False)]
    with pytest.raises(OSError, match="No space left"):
        actor.next(math.inf)


def test_a_trial_that_does_not_end_when_told_to_is_an_error(order, monkeypatch):
    monkeypatch.setattr(session, "STOP_GRACE_S", 0.01)
    go = session.threading.Event()

    def stubborn(config):
        try:
            tune.report({"n": 1})
        finally:
            go.wait(10)

    actor = TrialActor(FunctionRunnable(stubborn))
    actor.start([order()])
    with pytest.raises(tune.TuneError, match="did not end"):
        actor.stop(save=False)
    go.set()


def test_sys_exit_is_an_error_of_the_trial(order):
    def leave(config):
        raise SystemExit(4)

    with pytest.raises(tune.TuneError, match=r"SystemExit\(4\)"):
        TrialActor(FunctionRunnable(leave)).start([order()])
