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
    LOOK_AGAIN_S,
    PATIENCE_S,
    SETTLE_S,
    Policy,
    Run,
)
from heliostat.train._run_messages import (
    Asked,
    Blame,
    CancelValidation,
    Delete,
    Finish,
    GroupFailed,
    GroupUp,
    Keep,
    Kept,
    Listen,
    Measure,
    Met,
    Publish,
    RankDone,
    RankLost,
    Record,
    Reported,
    Resume,
    Room,
    Share,
    StartGroup,
    StopGroup,
    StorageFailed,
    Tell,
    Tick,
    Uploaded,
    Validate,
    Validated,
    Validation,
    Warn,
)
from heliostat.train.error import ControllerError, WorkerGroupError


def started(ranks=2, **policy):
    run = Run(Policy(ranks, **policy))
    assert run.handle(Tick(), 0) == [StartGroup(1, None, ranks, 0)]
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
        Resume(1, "checkpoint_000001"),
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
    assert commands[-1] == StartGroup(2, "checkpoint_000000", 1, 1)
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
    assert run.handle(GroupFailed(1, OSError(), died=True), 0)[-1] == StartGroup(2, None, 1, 0)
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
        Warn("ranks [0, 2] waiting in report() for rank 1", stacks=True)
    ]
    assert run.deadline == 100 + 3 * PATIENCE_S


def test_ranks_must_agree_on_a_checkpoints_name():
    run = started(2)
    run.handle(Reported(1, 0, {}, True, "a"), 0)
    commands = run.handle(Reported(1, 1, {}, True, "b"), 0)
    assert "'a', 'b'" in str(commands[-1].error)


def test_a_resumed_run_begins_with_the_latest_checkpoint_and_goes_on_counting():
    run = Run(Policy(1), [Kept("checkpoint_000003", {}), Kept("best", {})], next_number=4)
    assert run.handle(Tick(), 0) == [StartGroup(1, "best", 1, 4)]
    run.handle(GroupUp(1), 0)
    assert report(run, saved=True)[0] == Keep(1, 0, "checkpoint_000004")


NUMBERS = Validation({"n": 1}, 5.0)


def test_what_is_uploaded_in_the_background_is_published_when_all_ranks_are_through():
    run = started(2, num_to_keep=1)
    for rank in (0, 1):
        commands = run.handle(Reported(1, rank, {"r": rank}, True, coming=True), 0)
    assert commands == [Resume(1)]
    assert run.handle(Uploaded(1, 1, 0), 0) == [Listen(1, 1)]
    assert run.handle(Uploaded(1, 0, 0), 0) == [
        Keep(1, 0, "checkpoint_000000"),
        Publish(1, ({"r": 0}, {"r": 1}), "checkpoint_000000"),
        Listen(1, 0),
    ]


def test_reports_are_published_in_their_order_whatever_is_uploaded_first():
    run = started(1)
    for n in (0, 1):
        run.handle(Reported(1, 0, {"n": n}, True, coming=True), 0)
    assert run.handle(Uploaded(1, 0, 1), 0) == [Listen(1, 0)]
    published = [c for c in run.handle(Uploaded(1, 0, 0), 0) if isinstance(c, Publish)]
    assert [(c.metrics[0]["n"], c.checkpoint) for c in published] == [
        (0, "checkpoint_000000"),
        (1, "checkpoint_000001"),
    ]


def test_metrics_of_an_upload_that_a_failure_cut_short_are_kept_without_it():
    run = started(1, max_failures=1)
    run.handle(Reported(1, 0, {"x": 1}, True, coming=True), 0)
    stop, publish, _, start = run.handle(RankLost(1, 0, OSError(), died=True), 0)
    assert (stop, publish) == (StopGroup(1), Publish(1, ({"x": 1},), None))
    assert start == StartGroup(2, None, 1, 1)


def test_a_checkpoint_that_stays_where_it_is_is_known_by_its_path():
    run = started(2)
    run.handle(Reported(1, 0, {}, True, path="/there"), 0)
    assert run.handle(Reported(1, 1, {}, True, path="/there"), 0) == [
        Publish(1, ({}, {}), "/there"),
        Resume(1, "/there"),
    ]


def test_ranks_must_agree_on_a_checkpoints_place():
    run = started(2)
    run.handle(Reported(1, 0, {}, True, path="/here"), 0)
    error = run.handle(Reported(1, 1, {}, True, path="/there"), 0)[-1].error
    assert "place was '/here', '/there'" in str(error)
    run = started(2)
    run.handle(Reported(1, 0, {}, True), 0)
    error = run.handle(Reported(1, 1, {}, True, path="/there"), 0)[-1].error
    assert "place was '/there'" in str(error)


def validating(**policy):
    """A run whose first checkpoint is being validated."""
    run = started(1, **policy)
    commands = run.handle(Reported(1, 0, {"loss": 3.0}, True, validation=NUMBERS), 0)
    assert Validate("checkpoint_000000", {"n": 1}) in commands
    return run


def test_checkpoints_are_validated_one_after_the_other_and_their_metrics_merged():
    run = validating()
    run.handle(Reported(1, 0, {"loss": 2.0}, True, validation=NUMBERS), 0)
    assert run.handle(Validated("checkpoint_000000", {"auc": 0.5}), 1) == [
        Record("checkpoint_000000", {"auc": 0.5}, "VALIDATED"),
        Validate("checkpoint_000001", {"n": 1}),
    ]
    assert [(k.metrics, k.status) for k in run.kept] == [
        ({"loss": 3.0, "auc": 0.5}, "VALIDATED"),
        ({"loss": 2.0}, "PENDING_VALIDATION"),
    ]


def test_a_validation_that_fails_or_takes_too_long_is_written_down_and_the_run_goes_on():
    run = validating()
    assert run.handle(Validated("checkpoint_000000", {}, ValueError()), 1) == [
        Record("checkpoint_000000", {}, "VALIDATION_FAILED")
    ]
    run = validating()
    assert run.deadline == 5.0
    assert run.handle(Tick(), 5.0) == [
        CancelValidation("checkpoint_000000"),
        Record("checkpoint_000000", {}, "VALIDATION_TIMEOUT"),
    ]
    assert run.handle(Validated("checkpoint_000000", {}), 6) == []


def test_a_run_ends_when_its_last_validation_does():
    run = validating()
    assert run.handle(RankDone(1, 0), 0) == [StopGroup(1, orderly=True)]
    assert run.phase == "validating"
    assert run.handle(Validated("checkpoint_000000", {}), 1)[-1] == Finish(None)


def test_a_run_that_fails_waits_for_no_validation():
    commands = validating().handle(RankLost(1, 0, OSError(), died=True), 0)
    assert names(commands) == ["StopGroup", "CancelValidation", "Blame", "Finish"]


def test_what_is_being_validated_is_not_deleted_and_the_best_of_validation_stay():
    run = validating(num_to_keep=1, score_attribute="auc")
    for _ in range(2):
        run.handle(Reported(1, 0, {}, True, validation=NUMBERS), 0)
    assert len(run.kept) == 3
    run.handle(Validated("checkpoint_000000", {"auc": 0.9}), 1)
    commands = run.handle(Validated("checkpoint_000001", {"auc": 0.1}), 1)
    assert Delete("checkpoint_000001") in commands
    run.handle(Validated("checkpoint_000002", {"auc": 0.2}), 1)
    assert [k.name for k in run.kept] == ["checkpoint_000000", "checkpoint_000002"]


def test_who_asks_for_all_checkpoints_is_told_when_they_are_stored_or_validated():
    run = validating()
    assert run.handle(Asked(1, 0, validated=False), 0) == [Tell(1, 0)]
    assert run.handle(Asked(1, 0, validated=True), 0) == []
    assert run.ranks == ["asking"]
    assert run.handle(Validated("checkpoint_000000", {}), 1)[-1] == Tell(1, 0)


def test_ranks_that_meet_go_on_together_with_what_rank_0_has():
    run = Run(Policy(2))
    run.handle(Tick(), 0)
    run.handle(GroupUp(1), 0)
    assert run.handle(Met(1, 1, None), 1) == []
    assert run.deadline == 61.0
    (warning,) = run.handle(Tick(), 61.0)
    assert "rank 1 waiting in a collective call for rank 0" in warning.text
    assert run.handle(Met(1, 0, "name"), 62) == [Share(1, "name")]
    assert run.deadline is None


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (Reported(1, 0, {}), "while rank 1 made one, rank 0 called report()"),
        (RankDone(1, 0), "while rank 1 made one, rank 0 ended the loop"),
    ],
)
def test_ranks_that_wait_for_each_other_at_different_places_are_told(other, says):
    run = Run(Policy(2))
    run.handle(Tick(), 0)
    run.handle(GroupUp(1), 0)
    run.handle(Met(1, 1), 1)
    run.handle(other, 1)
    assert run.phase == "finished"
    assert says in str(run.error)


def test_who_asks_waits_no_longer_than_they_said():
    run = validating()
    assert run.handle(Asked(1, 0, validated=True, timeout_s=2.0), 1) == []
    assert run.deadline == 3.0
    assert run.handle(Tick(), 3.0) == [Tell(1, 0)]


def test_a_resumed_run_validates_what_was_not_validated():
    kept = Kept("checkpoint_000003", {}, "PENDING_VALIDATION", NUMBERS)
    commands = Run(Policy(1), [kept], 4).handle(Tick(), 0)
    assert commands[-1] == Validate("checkpoint_000003", {"n": 1})


def elastic(least=1, most=3, **policy):
    run = Run(Policy(most, least=least, resize_every_s=10, **policy))
    assert run.handle(Tick(), 0) == [Measure(1)]
    return run


def test_an_elastic_group_takes_all_the_room_there_is_once_that_has_settled():
    run = elastic()
    assert run.handle(Room(1, 2), 0) == []
    assert run.deadline == LOOK_AGAIN_S
    assert run.handle(Tick(), SETTLE_S) == [Measure(1)]
    assert run.handle(Room(1, 2), SETTLE_S) == [StartGroup(1, None, 2, 0)]
    assert elastic().handle(Room(1, 9), 0) == [StartGroup(1, None, 3, 0)]


def test_with_less_room_than_the_least_it_waits_and_says_so_once():
    run = elastic(least=2)
    (warning,) = run.handle(Room(1, 1), SETTLE_S)
    assert "room for 1 ranks, and at least 2" in warning.text
    assert run.handle(Room(1, 1), SETTLE_S + 1) == []
    assert run.handle(Room(1, 2), SETTLE_S + 2) == [StartGroup(1, None, 2, 0)]


def test_room_for_more_ranks_is_taken_when_a_checkpoint_is_stored():
    run = elastic()
    run.handle(Room(1, 1), SETTLE_S)
    run.handle(GroupUp(1), 0)
    assert run.deadline == 10
    assert run.handle(Tick(), 10) == [Measure(1)]
    assert run.handle(Room(1, 2), 10) == []
    assert run.handle(Reported(1, 0, {}), 11) == [Publish(1, ({},), None), Resume(1)]
    commands = run.handle(Reported(1, 0, {}, True), 12)
    assert names(commands) == ["Keep", "Publish", "StopGroup", "Warn", "Measure"]
    assert run.failures == 0
    assert run.handle(Room(2, 3), 13) == [StartGroup(2, "checkpoint_000000", 3, 1)]
    run.check()


def test_after_a_failure_the_group_may_be_smaller():
    run = elastic(max_failures=1)
    run.handle(Room(1, 3), 0)
    run.handle(GroupUp(1), 0)
    commands = run.handle(RankLost(1, 2, OSError(), died=True), 5)
    assert names(commands) == ["StopGroup", "Blame", "Measure"]
    assert run.handle(Room(2, 2), 5 + SETTLE_S) == [StartGroup(2, None, 2, 0)]


# Functions, not lambdas: Hypothesis would parse this file each time it looks at one.
def is_live(machine):
    return machine.run.phase in ("running", "failing") and "working" in machine.run.ranks


def is_starting(machine):
    return machine.run.phase == "starting"


def is_measuring(machine):
    return machine.run.phase in ("measuring", "running")


def is_running(machine):
    return machine.run.phase == "running"


def is_uploading(machine):
    return machine.run.phase in ("running", "failing") and machine.uploads


def is_validating(machine):
    return machine.validating is not None


def has_a_past(machine):
    return machine.run.attempt > 1


class AnyHistory(RuleBasedStateMachine):
    """Ranks report, upload, ask, end, raise and die in any order; what is on disk follows."""

    @initialize(
        ranks=st.integers(1, 3),
        failures=st.integers(-1, 2),
        keep=st.sampled_from([None, 1, 2]),
        score=st.sampled_from([None, "x"]),
        elastic=st.booleans(),
    )
    def begin(self, ranks, failures, keep, score, elastic):
        self.run = Run(
            Policy(ranks, failures, keep, score, least=1 if elastic else None, resize_every_s=5)
        )
        self.now = 0.0
        self.disk: list[str] = []
        self.group: int | None = None
        self.finished = 0
        self.reports = 0
        self.uploads: list[tuple[int, int]] = []
        self.validating: str | None = None
        self.feed(Tick())

    def feed(self, event):
        self.now += 0.01
        for command in self.run.handle(event, self.now):
            self.carry_out(command)

    def carry_out(self, command):
        match command:
            case StartGroup(attempt, checkpoint, size, _):
                assert self.group is None
                assert checkpoint is None or checkpoint in self.disk
                assert (checkpoint is None) == (not self.disk)
                assert size == len(self.run.ranks)
                self.group, self.reports, self.uploads = attempt, 0, []
            case StopGroup(attempt):
                assert self.group in (attempt, None)
                self.group = None
            case Keep(attempt, _, name):
                assert attempt == self.group
                assert name not in self.disk
                self.disk.append(name)
            case Delete(name):
                assert name != self.validating
                self.disk.remove(name)
            case Publish(_, _, checkpoint, _):
                assert checkpoint is None or checkpoint in self.disk
            case Resume(attempt, checkpoint):
                assert attempt == self.group
                assert checkpoint is None or checkpoint == self.disk[-1]
            case Listen(attempt, rank):
                assert attempt == self.group
            case Tell(attempt, rank):
                assert attempt == self.group
                assert self.run.ranks[rank] == "working"
            case Finish():
                self.finished += 1
            case _:
                self.validate(command)

    def validate(self, command):
        match command:
            case Validate(name, _):
                assert self.validating is None
                assert name in self.disk
                self.validating = name
            case Share(attempt):
                assert attempt == self.group
                assert set(self.run.ranks) == {"working"}
            case CancelValidation(name) | Record(name):
                assert self.validating in (name, None)
                self.validating = None
            case _:
                assert isinstance(command, Blame | Warn | Measure)

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

    @precondition(is_measuring)
    @rule(ranks=st.integers(0, 3), s=st.sampled_from([0.0, 2.0]))
    def room(self, ranks, s):
        self.now += s
        here = len(self.run.ranks) if self.run.phase == "running" else 0
        self.feed(Room(self.run.attempt, max(here, ranks)))

    @live
    @rule(data=st.data(), x=st.floats(), saved=st.booleans())
    def one_reports(self, data, x, saved):
        rank = data.draw(st.sampled_from(self.ranks("working")))
        self.feed(Reported(self.run.attempt, rank, {"x": x}, saved))

    @live
    @rule(x=st.floats(), how=st.sampled_from(["none", "saved", "coming", "validated"]))
    def all_report(self, x, how):
        attempt, coming = self.run.attempt, how == "coming"
        whole = len(self.ranks("working")) == len(self.run.ranks)
        number = self.run._attempt_reports
        for rank in self.ranks("working"):
            wanted = Validation({}, 1.0) if how == "validated" else None
            self.feed(
                Reported(
                    attempt, rank, {"x": x}, how != "none", coming=coming and whole,
                    validation=wanted,
                )
            )  # fmt: skip
            if coming and whole:
                self.uploads.append((rank, number))

    @precondition(is_uploading)
    @rule(data=st.data())
    def one_is_uploaded(self, data):
        rank, number = data.draw(st.sampled_from(self.uploads))
        self.uploads.remove((rank, number))
        self.feed(Uploaded(self.run.attempt, rank, number))

    @live
    @rule(data=st.data(), validated=st.booleans())
    def one_asks(self, data, validated):
        rank = data.draw(st.sampled_from(self.ranks("working")))
        self.feed(Asked(self.run.attempt, rank, validated, 3.0))

    @live
    @rule(data=st.data())
    def one_comes_to_meet(self, data):
        self.feed(Met(self.run.attempt, data.draw(st.sampled_from(self.ranks("working")))))

    @live
    @rule()
    def all_come_to_meet(self):
        for rank in self.ranks("working"):
            self.feed(Met(self.run.attempt, rank))

    @precondition(is_validating)
    @rule(failed=st.booleans())
    def a_validation_ends(self, failed):
        self.feed(Validated(self.validating, {"x": 1.0}, OSError() if failed else None))

    @live
    @rule(data=st.data())
    def one_is_done(self, data):
        rank = data.draw(st.sampled_from(self.ranks("working")))
        if any(rank == uploading for uploading, _ in self.uploads):
            return  # a loop is not done before its files are copied
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
        stopped = self.run.phase in ("measuring", "validating", "finished")
        assert (self.group is None) == stopped


AnyHistory.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_any_history_keeps_the_promises = AnyHistory.TestCase
