import contextlib
import threading

import pytest

from heliostat.train import TrainContext, get_context, report
from heliostat.train._worker import RAISED_AT, Assignment, Done, Loop, TrainWorker
from heliostat.train.session import Reply, Report


def worker(loop, tmp_path, context=contextlib.nullcontext):
    made = TrainWorker()
    made.begin(Assignment(TrainContext(storage=str(tmp_path)), None, {}), Loop(loop, context))
    return made


def test_each_advance_brings_the_next_news(tmp_path):
    def loop():
        for n in range(2):
            report({"n": n})
        return "end"

    made = worker(loop, tmp_path)
    assert [made.advance(Reply()) for _ in range(3)] == [
        Report({"n": 0}, False, None),
        Report({"n": 1}, False, None),
        Done("end"),
    ]


def test_the_loop_stands_still_between_report_and_advance(tmp_path):
    steps = []

    def loop():
        report({})
        steps.append(1)
        report({})

    made = worker(loop, tmp_path)
    made.advance()
    assert steps == []
    made.advance(Reply())
    assert steps == [1]
    made.release()


def test_what_the_loop_raises_comes_out_with_the_time_and_the_users_frames_only(tmp_path):
    def loop():
        raise ValueError("no")

    made = worker(loop, tmp_path)
    with pytest.raises(ValueError, match="no") as caught:
        made.advance()
    assert getattr(caught.value, RAISED_AT) > 0
    names = [entry.name for entry in caught.traceback]
    assert names[-2:] == ["advance", "loop"]


def test_the_time_of_an_error_is_before_the_loops_context_ends(tmp_path):
    import time

    left = []

    @contextlib.contextmanager
    def context():
        try:
            yield
        finally:
            left.append(time.monotonic())

    def loop():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        worker(loop, tmp_path, context).advance()
    assert getattr(caught.value, RAISED_AT) <= left[0]


def test_release_ends_a_loop_that_waits_in_report(tmp_path):
    before, cleaned = threading.active_count(), []

    def loop():
        try:
            report({})
        finally:
            cleaned.append(get_context().get_world_rank())

    made = worker(loop, tmp_path)
    made.advance()
    made.release()
    assert threading.active_count() == before
    assert cleaned == [0]


def test_release_of_a_loop_that_never_began_does_nothing():
    TrainWorker().release()
