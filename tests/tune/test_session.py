"""A trial's end of the conversation: reports, answers, stops, and who is who in one process."""

import math
import threading

import pytest

from heliostat import train, tune
from heliostat.tune import session as sessions
from heliostat.tune._messages import Order
from heliostat.tune._snapshot import read_results
from heliostat.tune.session import Session

ENGINE = None


@pytest.fixture
def begin(tmp_path):
    """Run code as a trial in a thread of its own, as a trial actor does."""
    threads = []

    def start(code, hold_at=math.inf, **order):
        made = Session(
            Order(
                **{
                    "trial_id": "t",
                    "attempt": 1,
                    "trial_name": "f_t",
                    "experiment_name": "s",
                    "experiment_tag": "0",
                    "config": {},
                    "path": str(tmp_path / f"trial{len(threads)}"),
                    "resources": {},
                    "checkpoint": None,
                    "next_checkpoint": 0,
                    "last_result": {},
                    "hold_at": hold_at,
                    **order,
                }
            )
        )
        threads.append(threading.Thread(target=made.run, args=(code,)))
        threads[-1].start()
        return made

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def numbers(update):
    return [report.metrics["n"] for report in update.reports]


def drain(session):
    seen = []
    while True:
        update = session.wait()
        seen += numbers(update)
        if update.done:
            return seen


def test_from_the_iteration_on_that_must_wait_each_report_waits_for_its_answer(begin):
    reached = []

    def code(_):
        for n in range(3):
            tune.report({"n": n})
            reached.append(n)

    session = begin(code, hold_at=0)
    for n in range(3):
        assert numbers(session.wait()) == [n]
        assert reached == list(range(n))
        session.go_on(0)
    assert session.wait().done


def test_reports_before_that_iteration_gather_and_come_with_it(begin):
    reached = []

    def code(_):
        for n in range(6):
            tune.report({"n": n})
            reached.append(n)

    def gather(session):
        seen = []
        while not seen or seen[-1] not in (1, 5):
            seen += numbers(session.wait())
        return seen

    session = begin(code, hold_at=2)
    assert gather(session) == [0, 1]
    assert reached == [0]
    session.go_on(6)
    assert gather(session) == [2, 3, 4, 5]
    session.go_on(math.inf)
    assert session.wait().done


def test_an_answer_to_earlier_reports_lets_no_later_one_go_on(begin):
    first, second, third = (threading.Event() for _ in range(3))

    def code(_):
        tune.report({"n": 0})
        first.wait(60)
        tune.report({"n": 1})
        second.wait(60)
        tune.report({"n": 2})
        third.set()

    session = begin(code, hold_at=3)
    assert numbers(session.wait()) == [0]
    first.set()
    second.set()
    while not session._holding:  # the last report waits before the answer to the first one comes
        assert not third.is_set()
    session.go_on(3)
    assert numbers(session.wait()) == [1, 2]
    assert not third.wait(0.05)
    session.go_on(math.inf)
    assert session.wait().done


def test_what_the_study_hears_of_is_in_the_file(begin):
    def code(_):
        tune.report({"n": 1})
        tune.report({"n": 2})

    session = begin(code, hold_at=1)
    for n in (1, 2):
        assert numbers(session.wait()) == [n]
        assert [result["n"] for result in read_results(session.order.path)][-1] == n
        session.go_on(0)
    assert session.wait().done


def test_reports_that_need_not_wait_gather(begin):
    def code(_):
        for n in range(5000):
            tune.report({"n": n})

    session = begin(code)
    assert drain(session) == list(range(5000))


def test_unread_reports_are_bounded(begin, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_UNREAD", 10)
    written = []

    def code(_):
        for n in range(50):
            tune.report({"n": n})
            written.append(n)

    session = begin(code)
    seen = []
    while len(seen) < 50:
        got = numbers(session.wait())
        assert len(got) <= 10
        seen += got
    assert session.wait().done
    assert seen == list(range(50))


def test_a_stop_ends_the_trial_inside_its_report_and_runs_its_finally(begin):
    unwound = []

    def code(_):
        try:
            while True:
                try:
                    tune.report({"n": 1})
                except Exception:  # noqa: BLE001 - user code that catches everything
                    unwound.append("caught")
        finally:
            unwound.append("finally")

    session = begin(code, hold_at=0)
    session.wait()
    assert session.stop(save=False)
    assert session.wait().done
    assert unwound == ["finally"]


def test_an_error_comes_after_all_reports_before_it(begin):
    def code(_):
        tune.report({"n": 1})
        raise ValueError("no")

    session = begin(code)
    update = session.wait()
    assert (numbers(update), update.done) == ([1], False)
    with pytest.raises(ValueError, match="no"):
        session.wait()


def test_the_users_frames_come_first_in_a_traceback(begin):
    def code(_):
        raise ValueError("no")

    session = begin(code)
    with pytest.raises(ValueError, match="no") as caught:
        session.wait()
    assert caught.traceback[-1].name == "code"
    assert caught.traceback[-2].name == "wait"


def test_counts_and_times_go_on_from_the_last_result(begin):
    def code(_):
        tune.report({"n": 1})

    before = {"training_iteration": 4, "time_total_s": 100.0}
    session = begin(code, last_result=before)
    metrics = session.wait().reports[0].metrics
    assert (metrics["training_iteration"], metrics["iterations_since_restore"]) == (5, 1)
    assert metrics["time_total_s"] >= 100
    assert metrics["time_since_restore"] < 100


def test_a_thread_that_the_trial_started_may_report(begin):
    def code(_):
        thread = threading.Thread(target=tune.report, args=({"n": 7},))
        thread.start()
        thread.join()

    assert drain(begin(code)) == [7]


def test_trials_that_share_a_process_keep_apart(begin):
    together = threading.Barrier(2)

    def code(session):
        together.wait(10)
        assert tune.get_context().get_trial_id() == session.order.trial_id
        together.wait(10)
        tune.report({"n": session.order.trial_id})

    first, second = begin(code, trial_id="a"), begin(code, trial_id="b")
    assert (drain(first), drain(second)) == (["a"], ["b"])


def test_a_slow_trial_is_heard_while_it_works(begin):
    go, worked = threading.Event(), threading.Event()

    def code(_):
        tune.report({"n": 1})
        go.wait(60)
        worked.set()

    session = begin(code)
    update = session.wait()
    assert (numbers(update), update.done) == ([1], False)
    assert not worked.is_set()
    go.set()
    assert session.wait().done


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: tune.report([1]), TypeError, r"takes a dict of metrics, got \[1\]"),
        (lambda: tune.report({1: 2}), TypeError, "must be strings, got 1"),
        (
            lambda: tune.report({}, checkpoint="/x"),
            TypeError,
            r"takes a tune\.Checkpoint, got '/x'",
        ),
        (lambda: train.get_dataset_shard("x"), RuntimeError, r"tune\.with_parameters"),
    ],
)
def test_wrong_calls_say_what_is_wrong(begin, call, error, says):
    session = begin(lambda _: call())
    with pytest.raises(error, match=says):
        session.wait()


@pytest.mark.parametrize("ask", [lambda: tune.report({}), tune.get_checkpoint, tune.get_context])
def test_outside_a_trial_there_is_nobody_to_talk_to(ask):
    with pytest.raises(RuntimeError, match="called outside a trial"):
        ask()
