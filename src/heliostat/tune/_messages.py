"""What is said between a study's decider, its loop and its trial actors. Values only."""

from typing import Any, NamedTuple

from heliostat.tune._beyond import Beyond
from heliostat.tune._trial import Trial


class Report(NamedTuple):
    """What a trial said once: its metrics and where it saved itself, if it did."""

    metrics: dict[str, Any]
    checkpoint: str | None = None


class Order(NamedTuple):
    """What a trial actor needs to know to run an attempt.

    `hold_at` is the iteration whose report waits for the study's answer; infinity for none. With
    `chdir` a trial that has its process for itself works in its own directory. What it prints is kept
    there in `log_files`, those for stdout and stderr. `beyond` is where the study is kept.
    """

    trial_id: str
    attempt: int
    trial_name: str
    experiment_name: str
    experiment_tag: str
    config: dict[str, Any]
    path: str
    resources: dict[str, float]
    checkpoint: str | None
    next_checkpoint: int
    last_result: dict[str, Any]
    hold_at: float
    chdir: bool = False
    log_files: tuple[str, str] | None = None
    beyond: Beyond | None = None


class Update(NamedTuple):
    """What a trial actor says of an attempt: reports since the last time, and whether it ended."""

    trial_id: str
    attempt: int
    reports: list[Report]
    done: bool
    saved: str | None = None


class Tick(NamedTuple):
    """Time went by, or the study begins."""


class Interrupted(NamedTuple):
    """The user wants no more."""


class Reported(NamedTuple):
    """A trial reported and goes on (or waits for its answer)."""

    trial_id: str
    attempt: int
    reports: list[Report]


class TrialDone(NamedTuple):
    """An attempt ended: by itself, because it was told to, or with an error of its own."""

    trial_id: str
    attempt: int
    reports: list[Report]
    error: BaseException | None = None
    saved: str | None = None


class TrialLost(NamedTuple):
    """The process of an attempt is gone."""

    trial_id: str
    attempt: int
    error: BaseException


class Returned(NamedTuple):
    """What was to run after an attempt, in its place, has not begun and does not wait there now."""

    trial_id: str
    attempt: int


class Saved(NamedTuple):
    """A trial did what `Save` asked; the path is None if it saves by itself only."""

    trial_id: str
    attempt: int
    path: str | None


News = Reported | TrialDone | TrialLost | Returned | Saved


class Together(NamedTuple):
    """News of trials that ran one after the other in one place; nothing starts before the last."""

    events: tuple[News, ...]


class Start(NamedTuple):
    """Run an attempt, from the trial's checkpoint when it has one.

    In `hold_at`, an iteration, its report waits for an answer. Those in `then` run after it in its
    place, first attempts all; each begins when the one before it has ended well.
    """

    trial: Trial
    hold_at: float
    then: tuple[Trial, ...] = ()


class Continue(NamedTuple):
    """Let an attempt go on, and wait for its next report; that of iteration `hold_at` waits for us."""

    trial_id: str
    hold_at: float = 0.0


class Save(NamedTuple):
    """Let an attempt save itself and wait; its `Saved` is awaited."""

    trial_id: str


class Stop(NamedTuple):
    """End an attempt; its `TrialDone` is still awaited."""

    trial_id: str


class Pause(NamedTuple):
    """End an attempt that will be taken up again; its `TrialDone` is still awaited."""

    trial_id: str
    save: bool = True


class Policy(NamedTuple):
    """A line for the policy files of population based training."""

    target: str
    donor: str
    line: list[Any]


class Exploit(NamedTuple):
    """A trial goes on with another configuration, from a donor's checkpoint (its own, maybe)."""

    donor: str
    config: dict[str, Any]
    tag: str
    policy: Policy | None = None


class Snapshot(NamedTuple):
    """This happened: write it down and tell the callbacks. The trial may have changed since."""

    what: str
    trial: Trial
    result: dict[str, Any] | None = None
    checkpoint: str | None = None
    error: BaseException | None = None
    exploit: Exploit | None = None


class Delete(NamedTuple):
    """Remove a checkpoint that no record refers to any more."""

    path: str


Event = Tick | Interrupted | News | Together
Command = Start | Continue | Save | Stop | Pause | Snapshot | Delete
