"""Trial: one configuration and what became of it. Lots: which of them run one after the other in one place.

A trial that takes a millisecond must not wait for a message before it and one after it. How many go
together follows from how long the last ones took. Both are changed by `Experiment` alone, and start nothing.
"""

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from heliostat.train import Checkpoint
from heliostat.tune._beyond import Beyond
from heliostat.tune.error import TuneError

PENDING = "PENDING"
RUNNING = "RUNNING"
# Internal: told to stop or pause, not quiet yet. People see RUNNING.
STOPPING = "STOPPING"
PAUSING = "PAUSING"
# Internal: asked to save itself before it goes on.
SAVING = "SAVING"
PAUSED = "PAUSED"
TERMINATED = "TERMINATED"
ERROR = "ERROR"

MOVES = {
    PENDING: {RUNNING, TERMINATED},
    RUNNING: {STOPPING, PAUSING, SAVING, TERMINATED, ERROR, PENDING},
    SAVING: {RUNNING, STOPPING, TERMINATED, ERROR, PENDING},
    STOPPING: {TERMINATED, ERROR},
    PAUSING: {PAUSED, STOPPING, TERMINATED, ERROR, PENDING},
    PAUSED: {RUNNING, TERMINATED},
    TERMINATED: {PENDING},
    ERROR: {PENDING},
}
_STORY = 20
# Values of a report that many reports have.
_SAME = ("hostname", "node_ip", "date")
# A lot is as long as takes about this time: reports are late by no more.
SPAN_S = 0.03
MOST = 100
# Sums of fractions are not exact.
EPSILON = 1e-9


@dataclass(eq=False, slots=True)
class Trial:
    """One configuration of a study, its state and its last report; studies make them.

    Attributes:
        trial_id: Unique in the study.
        trainable_name: What is tuned.
        config: The configuration.
        experiment_tag: The number of the trial and what was chosen for it.
        path: The directory of the trial.
        resources: What it is admitted for: names to amounts.
        state: Where it stands; `status` is what people see.
        attempt: Which try this is; news of older ones is dropped.
        last_result: The last report.
        resume_from: Path of the checkpoint that the next attempt goes on from.
        origin: The report that belongs to it: counts go on from there.
        donor: Id of the trial whose newest checkpoint the next attempt begins at.
        loan: The checkpoint, if it is another trial's.
        base: Resources in bundles, as the trainable asks for them.
        request: Resources in bundles, where a scheduler has given it others.
        checkpoints: Paths of the checkpoints that are kept, each with its report.
        error: Why it failed.
        num_failures: How often it failed.
        beyond: Where its study is kept, if that is beyond this machine; paths here are those of here.
    """

    trial_id: str
    trainable_name: str
    config: dict[str, Any]
    experiment_tag: str
    path: str
    resources: Mapping[str, float]
    name: str = ""
    state: str = PENDING
    attempt: int = 0
    last_result: dict[str, Any] = field(default_factory=dict)
    resume_from: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    donor: str | None = None
    loan: str | None = None
    base: Any = None
    request: Any = None
    checkpoints: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    saved: int = 0
    error: BaseException | None = None
    num_failures: int = 0
    beyond: Beyond | None = None
    story: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """PENDING, RUNNING, PAUSED, TERMINATED or ERROR."""
        return RUNNING if self.state in (STOPPING, PAUSING, SAVING) else self.state

    def is_finished(self) -> bool:
        """Whether it ended, well or not."""
        return self.state in (TERMINATED, ERROR)

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint that the next attempt goes on from."""
        return None if self.resume_from is None else self.at(self.resume_from)

    @property
    def local_path(self) -> str:
        """Its directory on this machine; `logdir` is an older name."""
        return self.path

    logdir = local_path

    @property
    def stored(self) -> str:
        """Its directory where the study is kept."""
        return self.path if self.beyond is None else self.beyond.path(self.path)

    def at(self, path: str) -> Checkpoint:
        """The checkpoint at one of its paths."""
        return Checkpoint(path) if self.beyond is None else self.beyond.checkpoint(path)

    def keep(self, path: str, result: dict[str, Any]) -> None:
        """Note a checkpoint of its own: the next attempt goes on from it."""
        self.resume_from, self.origin = path, result
        self.saved += 1
        self.checkpoints.append((path, result))

    def take_over(self, donor: "Trial") -> None:
        """Go on from what another trial has saved; from its own when that has saved nothing."""
        self.donor = None
        if donor.resume_from is not None and donor is not self:
            self.resume_from = self.loan = donor.resume_from
            self.origin = donor.origin

    def share(self) -> None:
        """Let go of copies of what other trials have, too: there may be a hundred thousand."""
        result = self.last_result
        for name in _SAME:
            if isinstance(value := result.get(name), str):
                result[name] = sys.intern(value)
        for name, own in (("trial_id", self.trial_id), ("experiment_tag", self.experiment_tag)):
            if result.get(name) == own:
                result[name] = own

    def move(self, state: str, why: str) -> None:
        """Go to another state; an impossible move is a bug and says how it came to it."""
        assert state in MOVES[self.state], (
            f"trial {self.trial_id}: {self.state} -> {state} ({why}) after {self.story}"
        )
        # Interned: a hundred thousand trials have the same story.
        self.story.append(sys.intern(f"{self.state} -> {state} ({why})"))
        del self.story[:-_STORY]
        self.state = state

    def __str__(self) -> str:
        return self.name or f"{self.trainable_name}_{self.trial_id}"

    def __repr__(self) -> str:
        return f"Trial({self}, {self.status})"


class Lots:
    """Who runs after whom in the same place, and how many may."""

    def __init__(self) -> None:
        # By id of the trial that runs: those after it, when its lot began, how many there were.
        self._after: dict[str, tuple[deque[Trial] | None, float, int]] = {}
        self._size = 1
        self._alone: set[str] = set()

    def size(self, first: Trial) -> int:
        """How many trials may go together, the first among them."""
        return 1 if first.trial_id in self._alone or first.attempt > 1 else self._size

    def fits(self, first: Trial, other: Trial) -> bool:
        """Whether a trial may run in the place of another: one that has never run and needs the same."""
        return (
            other.attempt == 0
            and other.trial_id not in self._alone
            and (other.resources is first.resources or other.resources == first.resources)
            and (other.base is first.base or other.base == first.base)
            and other.request is None
            and first.request is None
        )

    def begin(self, first: Trial, then: Iterable[Trial], now: float) -> None:
        """A lot begins."""
        after = deque(then)
        self._after[first.trial_id] = (after, now, 1 + len(after))

    def pass_on(self, trial: Trial, now: float) -> Trial | None:
        """A trial ended well.

        Returns:
            The one that has its place from now on; None after the last of a lot.
        """
        after, began, count = self._after.pop(trial.trial_id, (None, now, 0))
        if after:
            successor = after.popleft()
            self._after[successor.trial_id] = (after, began, count)
            return successor
        if count:
            fit = int(SPAN_S * count / max(now - began, 1e-6))
            self._size = max(1, min(fit, 2 * count, MOST))
        return None

    def take_back(self, trial: Trial) -> list[Trial]:
        """Those who were to run after a trial do not.

        Returns:
            They, in their order.
        """
        after, *_ = self._after.pop(trial.trial_id, (None, 0.0, 0))
        if after:  # it takes too long, or failed
            self._size = 1
        return list(after or ())

    def end(self) -> list[Trial]:
        """Nobody runs after anybody.

        Returns:
            Those who were to.
        """
        then = self.get_trials()
        self._after.clear()
        return then

    def part(self, trials: Iterable[Trial]) -> None:
        """Let each of these run with no other behind it from now on."""
        self._alone.update(trial.trial_id for trial in trials)

    def get_trials(self) -> list[Trial]:
        """All that are lined up behind others."""
        return [trial for after, *_ in self._after.values() for trial in after or ()]


def check_fits(request: Mapping[str, float], capacity: Mapping[str, float], who: str) -> None:
    """Refuse a request that the whole cluster could never meet; the message names what is missing."""
    missing = [
        f"{name}: {amount:g} asked, {capacity.get(name, 0.0):g} there"
        for name, amount in request.items()
        if amount > capacity.get(name, 0.0) + EPSILON
    ]
    if missing:
        raise TuneError(
            f"{who} can never run here ({'; '.join(missing)}). Ask for less, or give more: "
            "heliostat.init(num_cpus=, num_gpus=, resources=) on one machine, nodes to a cluster"
        )
