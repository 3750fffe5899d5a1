"""What happens in a training and what is done about it: the events and commands of Run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from heliostat.train.error import TrainingFailedError

Status = Literal[
    "COMMITTED", "PENDING_VALIDATION", "VALIDATED", "VALIDATION_TIMEOUT", "VALIDATION_FAILED"
]


class Validation(NamedTuple):
    """How a checkpoint is to be validated."""

    fn_kwargs: Mapping[str, Any]
    timeout_s: float | None = None


class Kept(NamedTuple):
    """A checkpoint that is on disk, and what is known of it.

    Its name is that of its directory in the run's, or an absolute path.
    """

    name: str
    metrics: Mapping[str, Any]
    status: Status = "COMMITTED"
    validation: Validation | None = None


# Events.


class Tick(NamedTuple):
    """Time has passed; the first one begins the run."""


class Room(NamedTuple):
    """So many ranks could run now: those there are, and what fits beside them."""

    attempt: int
    ranks: int


class GroupUp(NamedTuple):
    """All ranks are there and ready to begin."""

    attempt: int


class GroupFailed(NamedTuple):
    """The ranks could not be started; `died` if a process was lost rather than refused."""

    attempt: int
    error: Exception
    died: bool = False


class Reported(NamedTuple):
    """A rank called report() and waits in it.

    `name` is what the checkpoint shall be called; `path` where it is, if it stays there; `coming`
    says that its files are still being copied.
    """

    attempt: int
    rank: int
    metrics: dict[str, Any]
    saved: bool = False
    name: str | None = None
    path: str | None = None
    coming: bool = False
    validation: Validation | None = None


class Uploaded(NamedTuple):
    """A rank has copied what came with its report of this number, of this attempt."""

    attempt: int
    rank: int
    report: int
    path: str | None = None


class Asked(NamedTuple):
    """A rank waits to be told of all checkpoints, and of their validation if it says so."""

    attempt: int
    rank: int
    validated: bool
    timeout_s: float | None = None


class Met(NamedTuple):
    """A rank waits for all others: a barrier, or a broadcast of rank 0's value."""

    attempt: int
    rank: int
    value: Any = None


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


class Validated(NamedTuple):
    """The validation of a checkpoint is over, with metrics or an error."""

    name: str
    metrics: Mapping[str, Any]
    error: Exception | None = None


class StorageFailed(NamedTuple):
    """A command about files could not be carried out; what came after it was dropped."""

    attempt: int
    error: Exception


Event = (
    Tick | Room | GroupUp | GroupFailed | Reported | Uploaded | Asked | Met | RankDone | RankLost
    | Validated | StorageFailed
)  # fmt: skip


# Commands.


class Measure(NamedTuple):
    """Say how many ranks there is room for."""

    attempt: int


class StartGroup(NamedTuple):
    """Start so many ranks; they go on from the checkpoint of this name, if any.

    Checkpoints of this attempt are numbered from `number` on.
    """

    attempt: int
    checkpoint: str | None
    size: int = 1
    number: int = 0


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
    validation: Validation | None = None


class Delete(NamedTuple):
    """Remove a checkpoint."""

    name: str


class Resume(NamedTuple):
    """Let every rank that is not done go on; the latest checkpoint is the one of this name."""

    attempt: int
    checkpoint: str | None = None


class Listen(NamedTuple):
    """Hear what else a rank has to say, which is at work."""

    attempt: int
    rank: int


class Tell(NamedTuple):
    """Tell a rank of all checkpoints there are, and let it go on."""

    attempt: int
    rank: int


class Share(NamedTuple):
    """All ranks have met: let them go on, with rank 0's value."""

    attempt: int
    value: Any = None


class Validate(NamedTuple):
    """Begin to validate a checkpoint."""

    name: str
    fn_kwargs: Mapping[str, Any]


class CancelValidation(NamedTuple):
    """Stop validating a checkpoint."""

    name: str


class Record(NamedTuple):
    """Write down how the validation of a checkpoint ended."""

    name: str
    metrics: Mapping[str, Any]
    status: Status


class Blame(NamedTuple):
    """An attempt failed: write it down and tell whoever listens."""

    attempt: int
    error: TrainingFailedError
    again: bool


class Warn(NamedTuple):
    """Tell the user; with the stack of every rank if they seem to hang."""

    text: str
    stacks: bool = False


class Finish(NamedTuple):
    """The run is over."""

    error: TrainingFailedError | None


Command = (
    Measure | StartGroup | StopGroup | Keep | Publish | Delete | Resume | Listen | Tell | Share
    | Validate | CancelValidation | Record | Blame | Warn | Finish
)  # fmt: skip
