"""Run: the decider of a training. Event in, commands out; no I/O, no clock, no threads.

It knows the attempts of a group and how many ranks it has, what each rank of the present one is
doing, when the barrier of `report` is full, which rank is to blame for a failure, whether to try
again, and which checkpoints stay. It does not know actors, files or users' functions.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from heliostat.exceptions import RayError
from heliostat.train._run_messages import (
    Asked,
    Blame,
    Command,
    Delete,
    Event,
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
    Status,
    StopGroup,
    StorageFailed,
    Tell,
    Tick,
    Uploaded,
    Validated,
    Validation,
    Warn,
)
from heliostat.train._validations import Validations
from heliostat.train.error import ControllerError, TrainingFailedError, WorkerGroupError

# A rank that dies makes the others fail as well, and their news may be first. So long do we
# listen for a better culprit.
BLAME_S = 0.3
# How long ranks may wait for the others in report() before somebody is told; then doubled.
PATIENCE_S = 60.0
# What ended a moment ago may not have given its resources back: so long is hoped for more room.
SETTLE_S = 1.0
LOOK_AGAIN_S = 0.05
LOOK_SELDOM_S = 1.0
STORY = 50

Phase = Literal["new", "measuring", "starting", "running", "failing", "validating", "finished"]
RankState = Literal["working", "waiting", "asking", "meeting", "done", "lost"]
Timer = Literal["blame", "patience", "room"]

MOVES: frozenset[tuple[Phase, Phase]] = frozenset(
    {
        ("new", "measuring"),
        ("new", "starting"),
        ("measuring", "starting"),
        ("measuring", "finished"),
        ("starting", "starting"),  # the group did not come up: the next attempt
        ("starting", "measuring"),
        ("starting", "running"),
        ("starting", "finished"),
        ("running", "failing"),
        ("running", "measuring"),  # the group shall be larger
        ("running", "validating"),
        ("running", "finished"),
        ("failing", "starting"),
        ("failing", "measuring"),
        ("failing", "finished"),
        ("validating", "finished"),
    }
)
RANK_MOVES: frozenset[tuple[RankState, RankState]] = frozenset(
    {
        ("working", "waiting"),
        ("working", "asking"),
        ("working", "meeting"),
        ("working", "done"),
        ("working", "lost"),
        ("waiting", "working"),
        ("asking", "working"),
        ("meeting", "working"),
    }
)
_NUMBERED = re.compile(r"checkpoint_(\d{6,})")


@dataclass(frozen=True)
class Policy:
    """What a Run decides by. `least`: as few ranks will do, and more are taken when there is room."""

    world_size: int
    max_failures: int = 0
    num_to_keep: int | None = None
    score_attribute: str | None = None
    score_order: Literal["max", "min"] = "max"
    least: int | None = None
    resize_every_s: float = 60.0


@dataclass
class Unpublished:
    """A report of all ranks, of which some still copy their files."""

    number: int
    metrics: tuple[dict[str, Any], ...]
    name: str | None  # None: nothing was saved
    uploading: set[int]
    paths: set[str]
    staged: bool
    validation: Validation | None


class Question(NamedTuple):
    """What a rank that waits for an answer wants to know."""

    validated: bool
    deadline: float | None


class Run:
    """One training, from the first start of its ranks to its end.

    Args:
        policy: What to decide by.
        kept: Checkpoints of an earlier life of the run, oldest first.
        next_number: The number of the next checkpoint.
    """

    def __init__(self, policy: Policy, kept: Sequence[Kept] = (), next_number: int = 0) -> None:
        self.policy = policy
        self.phase: Phase = "new"
        self.attempt = 0
        self.failures = 0
        self.reports = 0  # of all attempts
        self.size = policy.world_size
        self.kept = list(kept)  # oldest first
        self.metrics: dict[str, Any] | None = None
        self.value: Any = None
        self.error: TrainingFailedError | None = None
        self.story: deque[str] = deque(maxlen=STORY)
        self._next_number = next_number
        self._validations = Validations()
        self._handlers: dict[type, Callable[[Any, float], list[Command]]] = {
            Tick: self._tick,
            Room: self._room,
            GroupUp: self._group_up,
            GroupFailed: self._group_failed,
            Reported: self._reported,
            Uploaded: self._uploaded,
            Asked: self._asked,
            Met: self._met,
            RankDone: self._done,
            RankLost: self._rank_lost,
            Validated: self._validated,
            StorageFailed: self._storage_failed,
        }
        self._begin_attempt()
        self.attempt = 0

    def _begin_attempt(self) -> None:
        self.attempt += 1
        self.ranks: list[RankState] = ["working"] * self.size
        self._said: dict[int, Reported] = {}
        self._shared: Any = None  # what rank 0 said at the meeting that others are to come to
        self._questions: dict[int, Question] = {}
        self._lost: dict[int, RankLost] = {}
        self._unpublished: deque[Unpublished] = deque()
        self._attempt_reports = 0
        self._patience_s = PATIENCE_S
        self._timers: dict[Timer, float] = {}
        self._settled = 0.0
        self._has_room_for = 0
        self._told_room: int | None = None

    @property
    def deadline(self) -> float | None:
        """When a Tick is due, at the latest."""
        due = [*self._timers.values(), self._validations.deadline]
        due += [question.deadline for question in self._questions.values()]
        return min((at for at in due if at is not None), default=None)

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about `event`. News of an earlier attempt is dropped."""
        attempt = getattr(event, "attempt", self.attempt)
        if self.phase == "finished" or attempt != self.attempt:
            return []
        self.story.append(f"{now:.3f} {self.phase}: {type(event).__name__}")
        return self._handlers[type(event)](event, now)

    def check(self) -> None:
        """Assert what must hold between events."""
        assert len(self.ranks) == self.size <= self.policy.world_size
        assert self.policy.least is None or self.policy.least <= self.size
        assert (self.phase == "failing") == (bool(self._lost) and self.phase != "finished")
        for state, told in (("waiting", self._said), ("asking", self._questions)):
            here = {r for r, s in enumerate(self.ranks) if s == state}
            assert here == set(told), (state, here, told)
        if self.phase == "running":
            assert {"working", "asking"} & set(self.ranks), "a full barrier was not let go"
        limit = self.policy.max_failures
        assert self.phase == "finished" or limit < 0 or self.failures <= limit
        names = [k.name for k in self.kept]
        assert len(names) == len(set(names)), names
        assert self._validations.names <= set(names)
        if self.policy.num_to_keep is not None and self.reports:
            most = self.policy.num_to_keep + 1 + len(self._validations.names)
            assert len(self.kept) <= most

    # Starting.

    def _tick(self, event: Tick, now: float) -> list[Command]:
        if self.phase == "new":
            self._begin_attempt()
            commands = self._start(now)
            for kept in self.kept:
                if kept.status == "PENDING_VALIDATION" and kept.validation is not None:
                    commands += self._validations.add(kept.name, kept.validation, now)
            return commands
        late = self._validations.tick(now) if self._validations.deadline is not None else []
        commands = self._after_validating(late, now)
        for timer in [name for name, at in self._timers.items() if at <= now]:
            del self._timers[timer]
            if timer == "blame":
                return [*commands, *self._conclude(now)]
            if timer == "room":
                commands.append(Measure(self.attempt))
            else:
                self._patience_s *= 2
                self._timers[timer] = now + self._patience_s
                there: RankState = "waiting" if "waiting" in self.ranks else "meeting"
                where = "report()" if there == "waiting" else "a collective call"
                text = f"{self._who(there)} waiting in {where} for {self._who('working')}"
                commands.append(Warn(text, stacks=True))
        return commands

    def _start(self, now: float) -> list[Command]:
        """Start the ranks of this attempt; as many as there is room for, if that may vary."""
        if self.policy.least is None:
            self._move("starting")
            return [StartGroup(self.attempt, self._latest(), self.size, self._next_number)]
        self._move("measuring")
        self._settled = now + SETTLE_S
        return [Measure(self.attempt)]

    def _room(self, event: Room, now: float) -> list[Command]:
        fits = min(event.ranks, self.policy.world_size)
        if self.phase == "running":
            self._has_room_for = fits
            self._timers["room"] = now + self.policy.resize_every_s
            return []
        if self.phase != "measuring":
            return []
        least = self.policy.least or 1
        settled = now >= self._settled
        if fits == self.policy.world_size or (settled and fits >= least):
            self.size = fits
            self.ranks = ["working"] * fits
            self._move("starting")
            return [StartGroup(self.attempt, self._latest(), fits, self._next_number)]
        self._timers["room"] = now + (LOOK_SELDOM_S if settled else LOOK_AGAIN_S)
        if not settled or self._told_room == fits:
            return []
        self._told_room = fits
        return [Warn(f"there is room for {fits} ranks, and at least {least} are to train; waiting")]

    def _group_up(self, event: GroupUp, now: float) -> list[Command]:
        self._move("running")
        if self.size < self.policy.world_size:
            self._timers["room"] = now + self.policy.resize_every_s
        return [Resume(self.attempt)]

    def _group_failed(self, event: GroupFailed, now: float) -> list[Command]:
        # What was refused once will be refused again.
        blame = ControllerError(event.error)
        return self._try_again(blame, now) if event.died else self._finish(blame)

    def _resize(self, now: float) -> list[Command]:
        old, size = self.attempt, self.size
        text = f"there is room for {self._has_room_for} ranks instead of {size}: starting again"
        self._begin_attempt()
        return [StopGroup(old), Warn(text), *self._start(now)]

    # Reports.

    def _reported(self, event: Reported, now: float) -> list[Command]:
        self._move_rank(event.rank, "waiting")
        self._said[event.rank] = event
        if self.phase == "running":
            self._timers.setdefault("patience", now + self._patience_s)
        return self._after_rank_news(now)

    def _uploaded(self, event: Uploaded, now: float) -> list[Command]:
        for report in self._unpublished:
            if report.number == event.report:
                report.uploading.discard(event.rank)
                report.staged |= event.path is None
                report.paths |= {event.path} if event.path is not None else set()
        if self.phase != "running":
            return [Listen(self.attempt, event.rank)] if self.phase == "failing" else []
        commands = self._publish(now)
        if self.phase == "running":
            commands.append(Listen(self.attempt, event.rank))
        return commands

    def _asked(self, event: Asked, now: float) -> list[Command]:
        self._move_rank(event.rank, "asking")
        deadline = None if event.timeout_s is None else now + event.timeout_s
        self._questions[event.rank] = Question(event.validated, deadline)
        return self._answer(now)

    def _answer(self, now: float) -> list[Command]:
        """Tell those that asked, if what they wait for is there, or they waited long enough."""
        told: list[Command] = []
        for rank, (validated, deadline) in list(self._questions.items()):
            pending = self._unpublished or (validated and self._validations.queue)
            if not pending or (deadline is not None and now >= deadline):
                del self._questions[rank]
                self._move_rank(rank, "working")
                told.append(Tell(self.attempt, rank))
        return told

    def _met(self, event: Met, now: float) -> list[Command]:
        self._move_rank(event.rank, "meeting")
        if event.rank == 0:
            self._shared = event.value
        if self.phase == "running":
            self._timers.setdefault("patience", now + self._patience_s)
        return self._after_rank_news(now)

    def _all_have_met(self) -> list[Command]:
        value, self._shared = self._shared, None
        self._timers.pop("patience", None)
        for rank in range(self.size):
            self._move_rank(rank, "working")
        return [Share(self.attempt, value)]

    def _done(self, event: RankDone, now: float) -> list[Command]:
        self._move_rank(event.rank, "done")
        if event.rank == 0:
            self.value = event.value
        return self._after_rank_news(now)

    def _rank_lost(self, event: RankLost, now: float) -> list[Command]:
        self._move_rank(event.rank, "lost")
        self._lost[event.rank] = event
        if self.phase == "running":
            self._move("failing")
            self._timers = {"blame": now + BLAME_S}
        if event.died:
            return self._conclude(now)
        return self._after_rank_news(now)

    def _after_rank_news(self, now: float) -> list[Command]:
        if "working" in self.ranks or "asking" in self.ranks:
            return []
        if self.phase == "failing":
            return self._conclude(now)
        if "meeting" in self.ranks:
            return self._all_have_met() if set(self.ranks) == {"meeting"} else self._apart()
        if "waiting" not in self.ranks:
            return self._finish(None)
        if "done" in self.ranks:
            return self._uneven()
        return self._barrier_is_full(now)

    def _barrier_is_full(self, now: float) -> list[Command]:
        said = [self._said[rank] for rank in range(self.size)]
        names = {r.name for r in said if r.saved and r.name}
        if len(names) > 1:
            return self._disagree("checkpoint_dir_name", names)
        name = None
        if any(r.saved for r in said):
            name = next(iter(names), None) or f"checkpoint_{self._next_number:06d}"
            numbered = _NUMBERED.fullmatch(name)
            if numbered is not None:
                self._next_number = max(self._next_number, int(numbered[1]) + 1)
        report = Unpublished(
            number=self._attempt_reports,
            metrics=tuple(r.metrics for r in said),
            name=name,
            uploading={r.rank for r in said if r.coming},
            paths={r.path for r in said if r.path is not None},
            staged=any(r.saved and r.path is None and not r.coming for r in said),
            validation=next((r.validation for r in said if r.validation is not None), None),
        )
        self._unpublished.append(report)
        self._attempt_reports += 1
        for rank in range(self.size):
            self._move_rank(rank, "working")
        self._said.clear()
        self._timers.pop("patience", None)
        commands = self._publish(now)
        if self.phase != "running":
            return commands
        if self._has_room_for > self.size and name is not None and not self._unpublished:
            return [*commands, *self._resize(now)]
        return [*commands, Resume(self.attempt, self._latest())]

    def _publish(self, now: float) -> list[Command]:
        """Make known what all ranks have copied, in the order of the reports."""
        commands: list[Command] = []
        while self._unpublished and not self._unpublished[0].uploading:
            report = self._unpublished.popleft()
            if len(report.paths) + report.staged > 1:
                return [*commands, *self._disagree("the checkpoint's place", report.paths)]
            commands += self._publish_one(report, now)
        return [*commands, *self._answer(now)]

    def _publish_one(self, report: Unpublished, now: float) -> list[Command]:
        commands: list[Command] = []
        name, validation = report.name, report.validation
        if name is not None:
            if report.paths:
                name = next(iter(report.paths))
                self.kept = [k for k in self.kept if k.name != name]
            else:
                commands.append(Keep(self.attempt, report.number, name))
            status: Status = "COMMITTED" if validation is None else "PENDING_VALIDATION"
            self.kept.append(Kept(name, report.metrics[0], status, validation))
        commands.append(Publish(self.attempt, report.metrics, name, validation))
        if name is not None and validation is not None:
            commands += self._validations.add(name, validation, now)
        self.metrics = report.metrics[0]
        self.reports += 1
        return [*commands, *self._drop_surplus()]

    def _disagree(self, what: str, said: set[str]) -> list[Command]:
        names = ", ".join(map(repr, sorted(said)))
        text = f"the ranks gave one checkpoint different names: {what} was {names}"
        return self._finish(WorkerGroupError(text, {}))

    # Validations.

    def _validated(self, event: Validated, now: float) -> list[Command]:
        return self._after_validating(self._validations.ended(event, now), now)

    def _after_validating(self, commands: list[Command], now: float) -> list[Command]:
        """What follows from validations that are over, and from time that has passed."""
        for command in commands:
            if isinstance(command, Record):
                self.kept = [
                    Kept(k.name, {**k.metrics, **command.metrics}, command.status, k.validation)
                    if k.name == command.name
                    else k
                    for k in self.kept
                ]
        commands = [*commands, *self._drop_surplus(), *self._answer(now)]
        if self.phase == "validating" and not self._validations.queue:
            self._move("finished")
            commands.append(Finish(None))
        return commands

    # Failures.

    def _conclude(self, now: float) -> list[Command]:
        """Enough is known about a failure: name the culprit, then try again or end."""
        losses = sorted(self._lost.values(), key=lambda loss: (not loss.died, loss.at))
        first = losses[0]
        again = self._may_try_again()
        text = (
            f"rank {first.rank} of {self.size} "
            f"{'died' if first.died else 'failed'} in attempt {self.attempt}"
            f" after {_count(self._attempt_reports, 'report')}:\n{_say(first.error)}"
        )
        if not again and not self.policy.max_failures:
            text += "\n(FailureConfig(max_failures=...) would start it again)"
        error = WorkerGroupError(text, {loss.rank: loss.error for loss in losses})
        error.__cause__ = first.error
        return self._try_again(error, now)

    def _uneven(self) -> list[Command]:
        return self._finish(
            WorkerGroupError(
                f"every rank must call report() equally often, but {self._who('done')} ended "
                f"the loop after {_count(self._attempt_reports, 'report')}, while "
                f"{self._who('waiting')} called report() once more",
                {},
            )
        )

    def _apart(self) -> list[Command]:
        others = " and ".join(
            f"{self._who(state)} {what}"
            for state, what in (("waiting", "called report()"), ("done", "ended the loop"))
            if state in self.ranks
        )
        text = (
            f"every rank must make the same collective calls, but while {self._who('meeting')} made "
            f"one, {others}"
        )
        return self._finish(WorkerGroupError(text, {}))

    def _storage_failed(self, event: StorageFailed, now: float) -> list[Command]:
        return self._finish(ControllerError(event.error))

    def _may_try_again(self) -> bool:
        limit = self.policy.max_failures
        return limit < 0 or self.failures < limit

    def _try_again(self, error: TrainingFailedError, now: float) -> list[Command]:
        if not self._may_try_again():
            return self._finish(error)
        self.failures += 1
        failed, lost = self.attempt, self._without_files()
        self._begin_attempt()
        return [StopGroup(failed), *lost, Blame(failed, error, again=True), *self._start(now)]

    def _finish(self, error: TrainingFailedError | None) -> list[Command]:
        self.error = error
        self._timers.clear()
        if error is None:
            done = not self._validations.queue
            self._move("finished" if done else "validating")
            return [StopGroup(self.attempt, orderly=True), *([Finish(None)] if done else [])]
        self._move("finished")
        return [
            StopGroup(self.attempt),
            *self._without_files(),
            *self._validations.stop(),
            Blame(self.attempt, error, again=False),
            Finish(error),
        ]

    def _without_files(self) -> list[Command]:
        """Reports whose files will never be complete: what they said is kept."""
        lost: list[Command] = [Publish(self.attempt, r.metrics, None) for r in self._unpublished]
        self._unpublished.clear()
        return lost

    # Checkpoints.

    def _latest(self) -> str | None:
        return self.kept[-1].name if self.kept else None

    def _drop_surplus(self) -> list[Command]:
        """Forget all but the best, and the latest whatever its score, and delete the others."""
        keep = self.policy.num_to_keep
        if keep is None or len(self.kept) <= keep:
            return []
        # The later of two equals is the better one.
        order = sorted(range(len(self.kept)), key=lambda i: (self._score(self.kept[i]), i))
        needed = {*self._validations.names, self.kept[-1].name}
        doomed = {self.kept[i].name for i in order[:-keep]} - needed
        dropped: list[Command] = [Delete(k.name) for k in self.kept if k.name in doomed]
        self.kept = [k for k in self.kept if k.name not in doomed]
        return dropped

    def _score(self, kept: Kept) -> tuple[bool, float]:
        """The greater the better; a metric that is missing or not a number is worst."""
        if self.policy.score_attribute is None:
            return True, 0.0
        try:
            score = float(kept.metrics[self.policy.score_attribute])
        except (KeyError, TypeError, ValueError):
            return False, 0.0
        if score != score:
            return False, 0.0
        return True, score if self.policy.score_order == "max" else -score

    # Words and moves.

    def _who(self, state: RankState) -> str:
        ranks = [r for r, s in enumerate(self.ranks) if s == state]
        return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks}"

    def _move(self, to: Phase) -> None:
        assert (self.phase, to) in MOVES, f"{self.phase} -> {to}; {list(self.story)}"
        self.phase = to

    def _move_rank(self, rank: int, to: RankState) -> None:
        now = self.ranks[rank]
        assert (now, to) in RANK_MOVES, f"rank {rank}: {now} -> {to}; {list(self.story)}"
        self.ranks[rank] = to


def _say(error: Exception) -> str:
    # A RayError's text begins with its kind.
    return str(error) if isinstance(error, RayError) else f"{type(error).__name__}: {error}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
