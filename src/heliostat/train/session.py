"""What a training loop talks to: report, get_checkpoint, get_dataset_shard.

A Session is one rank's end of the conversation with the controller: `report` hands over what
the rank has to say and waits until the controller, having heard all ranks, lets it go on. It
does not know how news travels.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from heliostat.train import current
from heliostat.train._names import check_name
from heliostat.train._run_messages import Validation
from heliostat.train._sender import Sender
from heliostat.train._storage import of_rank
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.context import TrainContext
from heliostat.train.report_config import CheckpointConsistencyMode, CheckpointUploadMode
from heliostat.train.reported_checkpoint import ReportedCheckpoint
from heliostat.train.validation_config import ValidationTaskConfig

if TYPE_CHECKING:
    from heliostat.data import DataIterator

__all__ = ["get_all_reported_checkpoints", "get_checkpoint", "get_dataset_shard", "report"]

_log = logging.getLogger("heliostat.train")


class Report(NamedTuple):
    """What one rank says in one call of `report`."""

    metrics: dict[str, Any]
    saved: bool = False
    name: str | None = None
    path: str | None = None
    coming: bool = False
    validation: Validation | None = None


class Stored(NamedTuple):
    """The files that came with a report of an earlier time are copied."""

    report: int
    path: str | None


class Question(NamedTuple):
    """The loop waits to be told of all checkpoints."""

    validated: bool
    timeout_s: float | None


class Meeting(NamedTuple):
    """The loop waits for those of all other ranks, with something to share if it is rank 0's."""

    value: Any


class Reply(NamedTuple):
    """What lets a loop go on that waits: the latest checkpoint's name, or what it asked for."""

    checkpoint: str | None = None
    reported: tuple[ReportedCheckpoint, ...] = ()
    shared: Any = None


@dataclass(frozen=True)
class Upload:
    """How a checkpoint is to be stored."""

    mode: CheckpointUploadMode = CheckpointUploadMode.SYNC
    delete_local: bool = False
    function: Callable[[Checkpoint, str], Checkpoint] | None = None

    @classmethod
    def parse(cls, mode: Any, delete_local: bool | None, function: Any) -> Upload:
        """What the arguments of `report` ask for.

        Raises:
            ValueError: For a mode that is none, or arguments that contradict each other.
            TypeError: For a function that is none.
        """
        try:
            mode = CheckpointUploadMode("SYNC" if mode is None else mode)
        except ValueError:
            modes = ", ".join(m.name for m in CheckpointUploadMode)
            raise ValueError(
                f"report(checkpoint_upload_mode=...) must be one of {modes}, got {mode!r}"
            ) from None
        if function is not None and not callable(function):
            raise TypeError(f"checkpoint_upload_fn must be a function, got {function!r}")
        if mode is CheckpointUploadMode.NO_UPLOAD and (function is not None or delete_local):
            raise ValueError(
                "report(checkpoint_upload_mode=NO_UPLOAD) leaves the checkpoint where it is; leave "
                "out checkpoint_upload_fn and delete_local_checkpoint_after_upload"
            )
        if delete_local is None:
            delete_local = mode.default_delete_local_checkpoint_after_upload()
        return cls(mode, delete_local, function)


class Released(BaseException):
    """Raised inside `report` in a loop that shall end because its group is being stopped."""


class Session:
    """One rank's end of the conversation with the controller.

    Args:
        context: Which rank it is.
        checkpoint: What the loop goes on from.
        shards: The rank's datasets by name.
        number: The checkpoints of this attempt are numbered from here.
        validation: What the trainer says of validations; None if it has no function for them.
    """

    def __init__(
        self,
        context: TrainContext,
        checkpoint: Checkpoint | None,
        shards: Mapping[str, Any],
        number: int = 0,
        validation: ValidationTaskConfig | None = None,
    ) -> None:
        self.context = context
        self._checkpoint = checkpoint
        self._asked_for_checkpoint = checkpoint is None
        self._shards = shards
        self._number = number
        self._validation = validation
        self._run = of_rank(context.storage, context.storage_filesystem)
        self._reports = 0
        self._names: set[str] = set()  # that reports of this attempt gave
        self._sender = Sender("train-upload")
        self._news: queue.SimpleQueue[Report | Stored | Question | Meeting | None] = (
            queue.SimpleQueue()
        )
        self._go: queue.SimpleQueue[Reply | None] = queue.SimpleQueue()

    # The loop's side.

    def report(
        self,
        metrics: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        name: str | None,
        upload: Upload,
        validation: bool | ValidationTaskConfig = False,
    ) -> None:
        _check_metrics(metrics)
        wanted = self._wanted(validation, checkpoint)
        self._tell_who_never_asked()
        if checkpoint is None:
            self._sender.drain()
            self._say(Report(dict(metrics)))
            return
        self._check_checkpoint(checkpoint, name)
        report, number = Report(dict(metrics), True, name, validation=wanted), self._reports
        # Files that go where they stay must have their name before the ranks meet.
        named = upload.function is not None or self._run.in_place
        if named and upload.mode is not CheckpointUploadMode.NO_UPLOAD:
            report = report._replace(name=self._name(name))
        if upload.mode is CheckpointUploadMode.ASYNC:
            # The files follow, with news of their own.
            self._say(report._replace(coming=True))
            store = functools.partial(self._store, number, checkpoint, name, upload)
            self._sender.submit(lambda: self._news.put(Stored(number, store())))
            return
        self._sender.drain()
        path = self._store(number, checkpoint, name, upload)
        self._say(report._replace(path=path))

    def _say(self, report: Report) -> None:
        self._reports += 1
        self._news.put(report)
        reply = self._wait_for_reply()
        if reply.checkpoint is not None:
            self._checkpoint = self._run.checkpoint(reply.checkpoint)

    def _wait_for_reply(self) -> Reply:
        reply = self._go.get()
        if reply is None:
            raise Released
        return reply

    def _name(self, name: str | None) -> str:
        """The checkpoint's name, as all ranks know it before they meet."""
        return name or f"checkpoint_{self._number + self._reports:06d}"

    def _store(
        self, number: int, checkpoint: Checkpoint, name: str | None, upload: Upload
    ) -> str | None:
        """Bring the files where they shall be; returns where that is, if not in the stage."""
        if upload.mode is CheckpointUploadMode.NO_UPLOAD:
            return self._place(checkpoint)
        name = name or f"checkpoint_{self._number + number:06d}"
        if upload.function is None:
            rank, attempt = self.context.world_rank, self.context.attempt
            with checkpoint.as_directory() as source:
                path = self._run.store(Path(source), attempt, number, rank, name)
        else:
            stored = upload.function(checkpoint, name)
            if not isinstance(stored, Checkpoint):
                raise TypeError(f"checkpoint_upload_fn must return a Checkpoint, got {stored!r}")
            path = self._place(stored)
        if upload.delete_local and path != checkpoint.path and not checkpoint.is_remote:
            shutil.rmtree(checkpoint.path)
        return path

    def _place(self, checkpoint: Checkpoint) -> str:
        """A name if it is in the run's directory, an absolute path otherwise."""
        name = os.path.basename(checkpoint.path)
        if checkpoint == self._run.checkpoint(name):
            return name
        if checkpoint.is_remote:
            raise NotImplementedError(
                f"report(checkpoint={checkpoint!r}): beyond this machine a checkpoint must be in "
                f"the run's own directory, {self._run.where}; upload it there"
            )
        return checkpoint.path

    def _wanted(
        self, validation: bool | ValidationTaskConfig, checkpoint: Checkpoint | None
    ) -> Validation | None:
        if validation is False or validation is None:
            return None
        if validation is not True and not isinstance(validation, ValidationTaskConfig):
            raise TypeError(
                f"report(validation=...) takes True, False or a ValidationTaskConfig, got "
                f"{validation!r}"
            )
        if checkpoint is None:
            raise ValueError("report(validation=...) needs a checkpoint to validate; give one")
        if self._validation is None:
            raise ValueError(
                "report(validation=...): the trainer has no function that validates; give it a "
                "validation_config=ValidationConfig(fn=...)"
            )
        default = dict(self._validation.fn_kwargs or {})
        if validation is True:
            return Validation(default, self._validation.timeout_s)
        return Validation({**default, **(validation.fn_kwargs or {})}, validation.timeout_s)

    def _tell_who_never_asked(self) -> None:
        if self._asked_for_checkpoint or self.context.world_rank != 0:
            return
        self._asked_for_checkpoint = True
        _log.warning(
            "the run goes on from %s, but the loop never called get_checkpoint(): it has "
            "begun from scratch",
            self._checkpoint,
        )

    def _check_checkpoint(self, checkpoint: Checkpoint, name: str | None) -> None:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(
                f"report(checkpoint=...) takes a heliostat.train.Checkpoint, got {checkpoint!r}"
            )
        if name is not None:
            check_name("report(checkpoint_dir_name=...)", name)
            if name in self._names or self._run.taken(name):
                raise ValueError(
                    f"report(checkpoint_dir_name={name!r}): there is one of this name in "
                    f"{self._run.where} already; give each checkpoint its own"
                )
            self._names.add(name)
        if not checkpoint.exists():
            raise FileNotFoundError(f"report(checkpoint=...): no directory at {checkpoint.path}")

    def get_checkpoint(self) -> Checkpoint | None:
        self._asked_for_checkpoint = True
        return self._checkpoint

    def get_all_reported_checkpoints(
        self, mode: CheckpointConsistencyMode, timeout_s: float | None
    ) -> list[ReportedCheckpoint]:
        self._sender.drain()
        self._news.put(Question(mode is CheckpointConsistencyMode.VALIDATED, timeout_s))
        return list(self._wait_for_reply().reported)

    def meet(self, value: Any) -> Any:
        """Wait for all ranks; returns what rank 0 came with."""
        self._news.put(Meeting(value if self.context.world_rank == 0 else None))
        return self._wait_for_reply().shared

    def get_dataset_shard(self, name: str | None) -> Any:
        if name is None and len(self._shards) == 1:
            return next(iter(self._shards.values()))
        try:
            return self._shards[name or "train"]
        except KeyError:
            known = ", ".join(map(repr, self._shards)) or "none"
            raise KeyError(
                f"get_dataset_shard({name!r}): the trainer was given these datasets: {known}"
            ) from None

    def run(self, loop: Callable[[], None]) -> None:
        """Run the loop as this session's, then say that there will be no more news."""
        current.enter(self)
        try:
            loop()
        finally:
            current.leave(self)
            self._sender.close()
            self._news.put(None)

    def finish(self) -> None:
        """The loop has returned: wait for the files that are still being copied.

        Raises:
            Exception: If they could not be.
        """
        self._sender.drain()

    # The controller's side.

    def next_news(self) -> Report | Stored | Question | Meeting | None:
        """Wait for what the loop has to say next; None when it is over."""
        return self._news.get()

    def go_on(self, reply: Reply) -> None:
        """Let the loop go on, which waits for a reply."""
        self._go.put(reply)

    def release(self) -> None:
        """Let `report` end the loop instead of returning."""
        self._go.put(None)


def report(
    metrics: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
    checkpoint_dir_name: str | None = None,
    checkpoint_upload_mode: CheckpointUploadMode | str | None = CheckpointUploadMode.SYNC,
    delete_local_checkpoint_after_upload: bool | None = None,
    checkpoint_upload_fn: Callable[[Checkpoint, str], Checkpoint] | None = None,
    validation: bool | ValidationTaskConfig = False,
) -> None:
    """Report metrics, and a checkpoint if there is one. Every rank must call it equally often.

    It returns when all ranks have called it and, unless it is uploaded asynchronously, the
    checkpoint is stored. Rank 0's metrics are the run's. The directories that several ranks
    report together become one checkpoint.

    Args:
        metrics: Names and values.
        checkpoint: What this rank saved; its directory is copied.
        checkpoint_dir_name: The checkpoint's name in the run's directory; numbered if None.
        checkpoint_upload_mode: When it is copied, or that it is not: a checkpoint that stays
            where it is belongs to the run from then on, which deletes it when it is surplus.
        delete_local_checkpoint_after_upload: Whether to remove the reported directory afterwards;
            if None, it is removed after an asynchronous upload.
        checkpoint_upload_fn: Called with the checkpoint and the name it shall have, in place of
            copying; returns where it has brought it.
        validation: Whether the trainer's `validation_config` is to validate the checkpoint, or
            how, while training goes on.

    Raises:
        SessionMisuseError: Outside a training loop.
        TypeError: If `metrics` is not a dict with strings as keys.
        ValueError: If the name cannot be a directory or is taken, or for arguments that
            contradict each other.
        FileNotFoundError: If the checkpoint's directory is not there.

    Example:
        >>> import heliostat.train as train
        >>> def loop():
        ...     for epoch in range(3):
        ...         train.report({"epoch": epoch})
        >>> trainer = train.DataParallelTrainer(loop, run_config=train.RunConfig(
        ...     storage_path="results", verbose=0))
        >>> trainer.fit().metrics
        {'epoch': 2}
    """
    upload = Upload.parse(
        checkpoint_upload_mode, delete_local_checkpoint_after_upload, checkpoint_upload_fn
    )
    session: Any = current.session("report")
    if isinstance(session, Session):
        session.report(metrics, checkpoint, checkpoint_dir_name, upload, validation)
        return
    if upload.mode is not CheckpointUploadMode.SYNC or upload.function or validation:
        raise NotImplementedError(
            "heliostat.train.report() in a function of Tune's stores checkpoints itself, before it "
            "returns; leave out checkpoint_upload_mode, checkpoint_upload_fn and validation"
        )
    session.report(metrics, checkpoint, checkpoint_dir_name, upload.delete_local)


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from: the run's latest, else what the trainer was given.

    Returns:
        The checkpoint, or None at a fresh start.

    Raises:
        SessionMisuseError: Outside a training loop.

    Example:
        >>> get_checkpoint()
        Traceback (most recent call last):
        heliostat.train.error.SessionMisuseError: ...outside a ...
    """
    return current.session("get_checkpoint").get_checkpoint()


def get_all_reported_checkpoints(
    consistency_mode: CheckpointConsistencyMode | str = CheckpointConsistencyMode.VALIDATED,
    timeout_s: float | None = None,
) -> list[ReportedCheckpoint]:
    """All checkpoints that were reported and are kept, oldest first.

    Args:
        consistency_mode: What to wait for: until they are stored, or validated too.
        timeout_s: Wait no longer than this, and return what is known then.

    Returns:
        Each with its metrics and its status.

    Raises:
        SessionMisuseError: Outside a training loop.
        ValueError: For a mode that is none.

    Example:
        >>> get_all_reported_checkpoints()
        Traceback (most recent call last):
        heliostat.train.error.SessionMisuseError: ...outside a ...
    """
    session: Any = current.session("get_all_reported_checkpoints")
    if not isinstance(session, Session):
        raise RuntimeError(
            "heliostat.train.get_all_reported_checkpoints() was called in a function of Tune's; "
            "ask the ResultGrid for checkpoints when it is over"
        )
    mode = CheckpointConsistencyMode(consistency_mode)
    return session.get_all_reported_checkpoints(mode, timeout_s)


def get_dataset_shard(dataset_name: str | None = None) -> DataIterator:
    """This rank's part of a dataset.

    Args:
        dataset_name: The key in the trainer's `datasets`; "train", or the only one, if None.

    Returns:
        An iterator over it.

    Raises:
        SessionMisuseError: Outside a training loop.
        KeyError: If the trainer was given no such dataset.

    Example:
        >>> get_dataset_shard("train")
        Traceback (most recent call last):
        heliostat.train.error.SessionMisuseError: ...outside a ...
    """
    shard: DataIterator = current.session("get_dataset_shard").get_dataset_shard(dataset_name)
    return shard


def _check_metrics(metrics: object) -> None:
    if not isinstance(metrics, Mapping):
        raise TypeError(f"report() takes a dict of metrics, got {metrics!r}")
    for key in metrics:
        if not isinstance(key, str):
            raise TypeError(f"report(): metric names must be strings, got {key!r}")
