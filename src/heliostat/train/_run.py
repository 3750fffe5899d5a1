"""Run: the decider of a training. Event in, commands out; no I/O, no clock, no threads.

It knows the attempts of a group, what each rank of the present one is doing, when the barrier
of `report` is full, which rank is to blame for a failure, whether to try again, and which
checkpoints stay. It does not know actors, files or users' functions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from heliostat.exceptions import RayError
from heliostat.train.error import ControllerError, TrainingFailedError, WorkerGroupError

# A rank that dies makes the others fail as well, and their news may be first. So long do we
# listen for a better culprit.
BLAME_S = 0.3
# How long ranks may wait for the others in report() before somebody is told; then doubled.
PATIENCE_S = 60.0
STORY = 50

Phase = Literal["new", "starting", "running", "failing", "finished"]
RankState = Literal["working", "waiting", "done", "lost"]

MOVES: frozenset[tuple[Phase, Phase]] = frozenset(
    {
        ("new", "starting"),
        ("starting", "starting"),  # the group did not come up: the next attempt
        ("starting", "running"),
        ("starting", "finished"),
        ("running", "failing"),
        ("running", "finished"),
        ("failing", "starting"),
        ("failing", "finished"),
    }
)
RANK_MOVES: frozenset[tuple[RankState, RankState]] = frozenset(
    {
        ("working", "waiting"),
        ("working", "done"),
        ("working", "lost"),
        ("waiting", "working"),
    }
)


class Tick(NamedTuple):
    """Time has passed; the first one begins the run."""


class GroupUp(NamedTuple):
    """All ranks are there and ready to begin."""

    attempt: int


class GroupFailed(NamedTuple):
    """The ranks could not be started; `died` if a process was lost rather than refused."""

    attempt: int
    error: Exception
    died: bool = False


class Reported(NamedTuple):
    """A rank called report() and waits in it."""

    attempt: int
    rank: int
    metrics: dict[str, Any]
    saved: bool = False
    name: str | None = None


class RankDone(NamedTuple):
    """A rank's loop returned."""

    attempt: int
    rank: int
    value: Any = None


class RankLost(NamedTuple):
    """A rank's loop raised, at a time by its own clock if known, or its process died."""

    attempt: int
    rank: int
    error: Exception
    died: bool = False
    at: float = math.inf


class StorageFailed(NamedTuple):
    """A command about files could not be carried out; what came after it was dropped."""

    attempt: int
    error: Exception


Event = Tick | GroupUp | GroupFailed | Reported | RankDone | RankLost | StorageFailed


class StartGroup(NamedTuple):
    """Start all ranks; they go on from the checkpoint of this name, if any."""

    attempt: int
    checkpoint: str | None


class StopGroup(NamedTuple):
    """End all ranks, whatever they are doing; orderly if every loop has returned."""

    attempt: int
    orderly: bool = False


class Keep(NamedTuple):
    """Make what the ranks staged with this report a checkpoint of this name."""

    attempt: int
    report: int
    name: str


class Publish(NamedTuple):
    """All ranks have reported: write it down and tell whoever listens."""

    attempt: int
    metrics: tuple[dict[str, Any], ...]
    checkpoint: str | None


class Delete(NamedTuple):
    """Remove a checkpoint."""

    name: str


class Resume(NamedTuple):
    """Let every rank that is not done go on."""

    attempt: int


class Blame(NamedTuple):
    """An attempt failed: write it down and tell whoever listens."""

    attempt: int
    error: TrainingFailedError
    again: bool


class Warn(NamedTuple):
    """Tell the user."""

    text: str


class Finish(NamedTuple):
    """The run is over."""

    error: TrainingFailedError | None


Command = StartGroup | StopGroup | Keep | Publish | Delete | Resume | Blame | Warn | Finish


class Kept(NamedTuple):
    """A checkpoint that is on disk, and what was reported with it."""

    name: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Policy:
    """What a Run decides by."""

    world_size: int
    max_failures: int = 0
    num_to_keep: int | None = None
    score_attribute: str | None = None
    score_order: Literal["max", "min"] = "max"


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
        self.kept = list(kept)  # oldest first
        self.metrics: dict[str, Any] | None = None
        self.value: Any = None
        self.error: TrainingFailedError | None = None
        self.deadline: float | None = None  # when a Tick is due, at the latest
        self.story: deque[str] = deque(maxlen=STORY)
        self._next_number = next_number
        self._begin_attempt()
        self.attempt = 0

    def _begin_attempt(self) -> None:
        self.attempt += 1
        self.ranks: list[RankState] = ["working"] * self.policy.world_size
        self._said: dict[int, Reported] = {}
        self._lost: dict[int, RankLost] = {}
        self._attempt_reports = 0
        self._patience_s = PATIENCE_S
        self.deadline = None

    def handle(self, event: Event, now: float) -> list[Command]:
        """What to do about `event`. News of an earlier attempt is dropped."""
        attempt = getattr(event, "attempt", self.attempt)
        if self.phase == "finished" or attempt != self.attempt:
            return []
        self.story.append(f"{now:.3f} {self.phase}: {type(event).__name__}")
        match event:
            case Tick():
                return self._tick(now)
            case GroupUp(attempt):
                self._move("running")
                return [Resume(attempt)]
            case GroupFailed(_, error, died):
                # What was refused once will be refused again.
                blame = ControllerError(error)
                return self._try_again(blame) if died else self._finish(blame)
            case Reported():
                return self._reported(event, now)
            case RankDone():
                return self._done(event, now)
            case RankLost():
                return self._rank_lost(event, now)
            case StorageFailed(_, error):
                return self._finish(ControllerError(error))

    def check(self) -> None:
        """Assert what must hold between events."""
        assert self.phase in ("new", "starting", "running", "failing", "finished")
        assert len(self.ranks) == self.policy.world_size
        assert (self.phase == "failing") == (bool(self._lost) and self.phase != "finished")
        waiting = {r for r, state in enumerate(self.ranks) if state == "waiting"}
        assert waiting == set(self._said), (waiting, self._said)
        if self.phase == "running":
            assert "working" in self.ranks, "a full barrier was not let go"
        limit = self.policy.max_failures
        assert self.phase == "finished" or limit < 0 or self.failures <= limit
        names = [k.name for k in self.kept]
        assert len(names) == len(set(names)), names
        if self.policy.num_to_keep is not None and self.reports:
            assert len(self.kept) <= self.policy.num_to_keep + 1

    # What each event means.

    def _tick(self, now: float) -> list[Command]:
        if self.phase == "new":
            self._begin_attempt()
            self._move("starting")
            return [StartGroup(self.attempt, self._latest())]
        if self.deadline is None or now < self.deadline:
            return []
        if self.phase == "failing":
            return self._conclude()
        self._patience_s *= 2
        self.deadline = now + self._patience_s
        return [Warn(f"{self._who('waiting')} waiting in report() for {self._who('working')}")]

    def _reported(self, event: Reported, now: float) -> list[Command]:
        self._move_rank(event.rank, "waiting")
        self._said[event.rank] = event
        if self.phase == "running" and self.deadline is None:
            self.deadline = now + self._patience_s
        return self._after_rank_news()

    def _done(self, event: RankDone, now: float) -> list[Command]:
        self._move_rank(event.rank, "done")
        if event.rank == 0:
            self.value = event.value
        return self._after_rank_news()

    def _rank_lost(self, event: RankLost, now: float) -> list[Command]:
        self._move_rank(event.rank, "lost")
        self._lost[event.rank] = event
        if self.phase == "running":
            self._move("failing")
            self.deadline = now + BLAME_S
        if event.died:
            return self._conclude()
        return self._after_rank_news()

    def _after_rank_news(self) -> list[Command]:
        if "working" in self.ranks:
            return []
        if self.phase == "failing":
            return self._conclude()
        if "waiting" not in self.ranks:
            return self._finish(None)
        if "done" in self.ranks:
            return self._uneven()
        return self._barrier_is_full()

    def _barrier_is_full(self) -> list[Command]:
        said = [self._said[rank] for rank in range(self.policy.world_size)]
        names = {r.name for r in said if r.saved and r.name}
        if len(names) > 1:
            return self._finish(
                WorkerGroupError(
                    "the ranks gave one checkpoint different names: checkpoint_dir_name was "
                    + ", ".join(map(repr, sorted(names))),
                    {},
                )
            )
        commands: list[Command] = []
        name = None
        if any(r.saved for r in said):
            name = next(iter(names), None) or self._number_name()
            commands.append(Keep(self.attempt, self._attempt_reports, name))
            self.kept.append(Kept(name, said[0].metrics))
        commands.append(Publish(self.attempt, tuple(r.metrics for r in said), name))
        commands.extend(Delete(k.name) for k in self._drop_surplus())
        self.metrics = said[0].metrics
        self.reports += 1
        self._attempt_reports += 1
        for rank in range(self.policy.world_size):
            self._move_rank(rank, "working")
        self._said.clear()
        self.deadline = None
        return [*commands, Resume(self.attempt)]

    # Failures.

    def _conclude(self) -> list[Command]:
        """Enough is known about a failure: name the culprit, then try again or end."""
        losses = sorted(self._lost.values(), key=lambda loss: (not loss.died, loss.at))
        first = losses[0]
        again = self._may_try_again()
        text = (
            f"rank {first.rank} of {self.policy.world_size} "
            f"{'died' if first.died else 'failed'} in attempt {self.attempt}"
            f" after {_count(self._attempt_reports, 'report')}:\n{_say(first.error)}"
        )
        if not again and not self.policy.max_failures:
            text += "\n(FailureConfig(max_failures=...) would start it again)"
        error = WorkerGroupError(text, {loss.rank: loss.error for loss in losses})
        error.__cause__ = first.error
        return self._try_again(error)

    def _uneven(self) -> list[Command]:
        return self._finish(
            WorkerGroupError(
                f"every rank must call report() equally often, but {self._who('done')} ended "
                f"the loop after {_count(self._attempt_reports, 'report')}, while "
                f"{self._who('waiting')} called report() once more",
                {},
            )
        )

    def _may_try_again(self) -> bool:
        limit = self.policy.max_failures
        return limit < 0 or self.failures < limit

    def _try_again(self, error: TrainingFailedError) -> list[Command]:
        if not self._may_try_again():
            return self._finish(error)
        self.failures += 1
        failed = self.attempt
        self._begin_attempt()
        self._move("starting")
        return [
            StopGroup(failed),
            Blame(failed, error, again=True),
            StartGroup(self.attempt, self._latest()),
        ]

    def _finish(self, error: TrainingFailedError | None) -> list[Command]:
        self._move("finished")
        self.error = error
        self.deadline = None
        if error is None:
            return [StopGroup(self.attempt, orderly=True), Finish(None)]
        return [StopGroup(self.attempt), Blame(self.attempt, error, again=False), Finish(error)]

    # Checkpoints.

    def _latest(self) -> str | None:
        return self.kept[-1].name if self.kept else None

    def _number_name(self) -> str:
        name = f"checkpoint_{self._next_number:06d}"
        self._next_number += 1
        return name

    def _drop_surplus(self) -> list[Kept]:
        """Forget all but the best, and the latest whatever its score, and say which they were."""
        keep = self.policy.num_to_keep
        if keep is None or len(self.kept) <= keep:
            return []
        # The later of two equals is the better one.
        order = sorted(range(len(self.kept)), key=lambda i: (self._score(self.kept[i]), i))
        doomed = {i for i in order[:-keep] if i != len(self.kept) - 1}
        dropped = [k for i, k in enumerate(self.kept) if i in doomed]
        self.kept = [k for i, k in enumerate(self.kept) if i not in doomed]
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
