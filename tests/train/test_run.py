"""Run decides alone: events in, commands out."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from heliostat.train._run import (
    BLAME_S,
    PATIENCE_S,
    Blame,
    Delete,
    Finish,
    GroupFailed,
    GroupUp,
    Keep,
    Kept,
    Policy,
    Publish,
    RankDone,
    RankLost,
    Reported,
    Resume,
    Run,
    StartGroup,
    StopGroup,
    StorageFailed,
    Tick,
    Warn,
)
from heliostat.train.error import ControllerError, WorkerGroupError


def started(ranks=2, **policy):
    run = Run(Policy(ranks, **policy))
    assert run.handle(Tick(), 0) == [StartGroup(1, None)]
    assert run.handle(GroupUp(1), 0) == [Resume(1)]
    return run


def report(run, metrics=None, saved=False, name=None, ranks=None, now=0.0):
    """All ranks report; what the last one's report leads to."""
    commands = []
    for rank in ranks or range(run.policy.world_size):
        commands = run.handle(Reported(run.attempt, rank, metrics or {}, saved, name), now)
        run.check()
    return commands


def names(commands):
    return [type(command).__name__ for command in commands]


def test_report_is_a_barrier():
    run = started(3)
    assert run.handle(Reported(1, 2, {"x": 2}), 0) == []
    assert run.handle(Reported(1, 0, {"x": 0}), 0) == []
    assert run.handle(Reported(1, 1, {"x": 1}), 0) == [
        Publish(1, ({"x": 0}, {"x": 1}, {"x": 2}), None),
        Resume(1),
    ]
    assert run.metrics == {"x": 0}


def test_a_checkpoint_is_stored_before_it_is_published_and_others_deleted_after():
    run = started(2, num_to_keep=1)
    report(run, saved=True)
    assert report(run, {"x": 1}, saved=True) == [
        Keep(1, 1, "checkpoint_000001"),
        Publish(1, ({"x": 1}, {"x": 1}), "checkpoint_000001"),
        Delete("checkpoint_000000"),
        Resume(1),
    ]


def test_the_best_are_kept_and_the_latest_too():
    run = started(1, num_to_keep=2, score_attribute="loss", score_order="min")
    for loss in (3.0, 1.0, 2.0, 9.0, math.nan):
        report(run, {"loss": loss}, saved=True)
    assert [k.metrics["loss"] for k in run.kept[:2]] == [1.0, 2.0]
    assert run.kept[2].name == "checkpoint_000004"


def test_without_a_score_the_latest_are_kept():
    run = started(1, num_to_keep=2)
    for _ in range(4):
        report(run, saved=True)
    assert [k.name for k in run.kept] == ["checkpoint_000002", "checkpoint_000003"]


@pytest.mark.parametrize("bad", [{}, {"loss": None}, {"loss": "low"}, {"loss": math.nan}])
def test_a_missing_score_is_the_worst(bad):
    run = started(1, num_to_keep=1, score_attribute="loss", score_order="max")
    report(run, bad, saved=True)
    report(run, {"loss": -1e9}, saved=True)
    assert [k.metrics for k in run.kept] == [{"loss": -1e9}]


def test_when_all_loops_return_the_group_stops_in_order_and_the_run_is_over():
    run = started(2)
    assert run.handle(RankDone(1, 1, "one"), 0) == []
    assert run.handle(RankDone(1, 0, "zero"), 0) == [StopGroup(1, orderly=True), Finish(None)]
    assert run.value == "zero"


def test_ranks_that_report_unequally_often_end_the_run_and_are_named():
    run = started(3)
    run.handle(Reported(1, 1, {}), 0)
    run.handle(RankDone(1, 0), 0)
    stop, _, (error,) = run.handle(RankDone(1, 2), 0)
    assert stop == StopGroup(1)
    assert "ranks [0, 2] ended the loop" in str(error)
    assert "rank 1 called report() once more" in str(error)


def test_a_dead_rank_stops_the_others_at_once_and_is_named():
    run = started(2)
    stop, blame, (error,) = run.handle(RankLost(1, 1, OSError("gone"), died=True), 0)
    assert stop == StopGroup(1)
    assert blame.error is error
    assert isinstance(error, WorkerGroupError)
    assert "rank 1 of 2 died in attempt 1 after 0 reports:\nOSError: gone" in str(error)
    assert list(error.worker_failures) == [1]


def test_a_raise_waits_a_moment_for_a_better_culprit():
    run = started(3)
    assert run.handle(RankLost(1, 0, OSError("connection lost")), 10) == []
    assert run.deadline == 10 + BLAME_S
    commands = run.handle(RankLost(1, 2, OSError("killed"), died=True), 10.1)
    assert list(commands[-1].error.worker_failures) == [2, 0]


def test_of_those_that_raised_the_first_to_do_so_is_the_culprit():
    run = started(2)
    run.handle(RankLost(1, 0, OSError("connection lost"), at=5.2), 6)
    commands = run.handle(RankLost(1, 1, ValueError("no"), at=5.1), 6)
    assert "rank 1 of 2 failed" in str(commands[-1].error)
    assert list(commands[-1].error.worker_failures) == [1, 0]


def test_the_moment_ends_by_itself():
    run = started(2)
    run.handle(RankLost(1, 0, ValueError("no")), 10)
    assert run.handle(Tick(), 10.1) == []
    assert names(run.handle(Tick(), 10 + BLAME_S)) == ["StopGroup", "Blame", "Finish"]


def test_a_failure_within_the_limit_starts_again_from_the_last_checkpoint():
    run = started(1, max_failures=1)
    report(run, saved=True)
    commands = run.handle(RankLost(1, 0, ValueError("no")), 0)
    assert names(commands) == ["StopGroup", "Blame", "StartGroup"]
    assert commands[-1] == StartGroup(2, "checkpoint_000000")
    run.check()
    run.handle(GroupUp(2), 0)
    assert names(run.handle(RankLost(2, 0, ValueError("no")), 0)) == [
        "StopGroup",
        "Blame",
        "Finish",
    ]


def test_news_of_an_earlier_attempt_is_dropped():
    run = started(2, max_failures=-1)
    run.handle(RankLost(1, 0, OSError(), died=True), 0)
    for late in (Reported(1, 1, {}), RankDone(1, 1), RankLost(1, 1, OSError()), GroupUp(1)):
        assert run.handle(late, 0) == []
    assert run.phase == "starting"


def test_a_refused_start_is_final_but_a_lost_one_is_tried_again():
    run = Run(Policy(1, max_failures=5))
    run.handle(Tick(), 0)
    assert run.handle(GroupFailed(1, OSError(), died=True), 0)[-1] == StartGroup(2, None)
    commands = run.handle(GroupFailed(2, TypeError("cannot pickle")), 0)
    assert isinstance(commands[-1].error, ControllerError)
    assert "TypeError: cannot pickle" in str(commands[-1].error)


def test_storage_that_fails_ends_the_run():
    run = started(1, max_failures=5)
    commands = run.handle(StorageFailed(1, OSError("disk full")), 0)
    assert names(commands) == ["StopGroup", "Blame", "Finish"]
    assert "disk full" in str(commands[-1].error)


def test_who_waits_in_report_and_for_whom_is_told_at_longer_and_longer_intervals():
    run = started(3)
    run.handle(Reported(1, 0, {}), 100)
    run.handle(Reported(1, 2, {}), 130)
    assert run.handle(Tick(), 100 + PATIENCE_S - 1) == []
    assert run.handle(Tick(), 100 + PATIENCE_S) == [
        Warn("ranks [0, 2] waiting in report() for rank 1")
    ]
    assert run.deadline == 100 + 3 * PATIENCE_S


def test_ranks_must_agree_on_a_checkpoints_name():
    run = started(2)
    run.handle(Reported(1, 0, {}, True, "a"), 0)
    commands = run.handle(Reported(1, 1, {}, True, "b"), 0)
    assert "'a', 'b'" in str(commands[-1].error)


def test_a_resumed_run_begins_with_the_latest_checkpoint_and_goes_on_counting():
    run = Run(Policy(1), [Kept("checkpoint_000003", {}), Kept("best", {})], next_number=4)
    assert run.handle(Tick(), 0) == [StartGroup(1, "best")]
    run.handle(GroupUp(1), 0)
    assert report(run, saved=True)[0] == Keep(1, 0, "checkpoint_000004")


# Functions, not lambdas: Hypothesis would parse this file each time it looks at one.
def is_live(machine):
    return machine.run.phase in ("running", "failing") and "working" in machine.run.ranks


def is_starting(machine):
    return machine.run.phase == "starting"


def is_running(machine):
    return machine.run.phase == "running"


def has_a_past(machine):
    return machine.run.attempt > 1


class AnyHistory(RuleBasedStateMachine):
    """Ranks report, end, raise and die in any order; what is on disk follows the commands."""

    @initialize(
        ranks=st.integers(1, 3),
        failures=st.integers(-1, 2),
        keep=st.sampled_from([None, 1, 2]),
        score=st.sampled_from([None, "x"]),
    )
    def begin(self, ranks, failures, keep, score):
        self.run = Run(Policy(ranks, failures, keep, score))
        self.now = 0.0
        self.disk: list[str] = []
        self.group: int | None = None
        self.finished = 0
        self.feed(Tick())

    def feed(self, event):
        self.now += 0.01
        for command in self.run.handle(event, self.now):
            match command:
                case StartGroup(attempt, checkpoint):
                    assert self.group is None
                    assert checkpoint is None or checkpoint in self.disk
                    assert (checkpoint is None) == (not self.disk)
                    self.group = attempt
                case StopGroup(attempt):
                    assert self.group in (attempt, None)
                    self.group = None
                case Keep(attempt, _, name):
                    assert attempt == self.group
                    assert name not in self.disk
                    self.disk.append(name)
                case Delete(name):
                    self.disk.remove(name)
                case Publish(attempt, metrics, checkpoint):
                    assert len(metrics) == self.run.policy.world_size
                    assert checkpoint is None or checkpoint in self.disk
                case Resume(attempt):
                    assert attempt == self.group
                case Finish():
                    self.finished += 1
                case Blame() | Warn():
                    pass

    def ranks(self, state):
        return [r for r, s in enumerate(self.run.ranks) if s == state]

    live = precondition(is_live)

    @precondition(is_starting)
    @rule(outcome=st.sampled_from(["up", "up", "died", "refused"]))
    def start(self, outcome):
        attempt = self.run.attempt
        if outcome == "up":
            self.feed(GroupUp(attempt))
        else:
            self.feed(GroupFailed(attempt, OSError(), died=outcome == "died"))

    @live
    @rule(data=st.data(), x=st.floats(), saved=st.booleans())
    def one_reports(self, data, x, saved):
        rank = data.draw(st.sampled_from(self.ranks("working")))
        self.feed(Reported(self.run.attempt, rank, {"x": x}, saved))

    @live
    @rule(x=st.floats(), saved=st.booleans())
    def all_report(self, x, saved):
        attempt = self.run.attempt
        for rank in self.ranks("working"):
            self.feed(Reported(attempt, rank, {"x": x}, saved))

    @live
    @rule(data=st.data())
    def one_is_done(self, data):
        rank = data.draw(st.sampled_from(self.ranks("working")))
        self.feed(RankDone(self.run.attempt, rank))

    @live
    @rule(data=st.data(), died=st.booleans())
    def one_is_lost(self, data, died):
        rank = data.draw(st.sampled_from(self.ranks("working")))
        self.feed(RankLost(self.run.attempt, rank, OSError(), died))

    @precondition(is_running)
    @rule()
    def storage_fails(self):
        self.feed(StorageFailed(self.run.attempt, OSError()))

    @precondition(has_a_past)
    @rule(died=st.booleans())
    def late_news(self, died):
        before = self.run.phase
        self.feed(RankLost(self.run.attempt - 1, 0, OSError(), died))
        assert self.run.phase == before

    @rule(s=st.sampled_from([0.1, 1.0, 100.0]))
    def time_passes(self, s):
        self.now += s
        self.feed(Tick())

    @invariant()
    def holds(self):
        self.run.check()
        assert self.disk == [k.name for k in self.run.kept]
        assert self.finished == (self.run.phase == "finished")
        assert (self.group is None) == (self.run.phase == "finished")


AnyHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_any_history_keeps_the_promises = AnyHistory.TestCase
