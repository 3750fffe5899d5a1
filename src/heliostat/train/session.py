"""What a training loop talks to: report, get_checkpoint, get_dataset_shard.

A Session is one rank's end of the conversation with the controller: `report` hands over what
the rank has to say and waits until the controller, having heard all ranks, lets it go on. It
does not know how news travels.
"""

from __future__ import annotations

import logging
import queue
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from heliostat.train import current
from heliostat.train._names import check_name
from heliostat.train._storage import RunDirectory, copy_to_stage
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.context import TrainContext

if TYPE_CHECKING:
    from heliostat.data import DataIterator

__all__ = ["get_checkpoint", "get_dataset_shard", "report"]

_log = logging.getLogger("heliostat.train")


class Report(NamedTuple):
    """What one rank says in one call of `report`."""

    metrics: dict[str, Any]
    saved: bool
    name: str | None


class Released(BaseException):
    """Raised inside `report` in a loop that shall end because its group is being stopped."""


class Session:
    """One rank's end of the conversation with the controller."""

    def __init__(
        self, context: TrainContext, checkpoint: Checkpoint | None, shards: Mapping[str, Any]
    ) -> None:
        self.context = context
        self._checkpoint = checkpoint
        self._asked_for_checkpoint = checkpoint is None
        self._shards = shards
        self._run = RunDirectory(Path(context.storage))
        self._reports = 0
        self._news: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._go: queue.SimpleQueue[bool] = queue.SimpleQueue()

    # The loop's side.

    def report(
        self,
        metrics: Mapping[str, Any],
        checkpoint: Checkpoint | None,
        name: str | None,
        delete_local: bool,
    ) -> None:
        _check_metrics(metrics)
        if checkpoint is not None:
            self._stage(checkpoint, name)
            if delete_local:
                shutil.rmtree(checkpoint.path)
        if not self._asked_for_checkpoint and self.context.world_rank == 0:
            self._asked_for_checkpoint = True
            _log.warning(
                "the run goes on from %s, but the loop never called get_checkpoint(): it has "
                "begun from scratch",
                self._checkpoint,
            )
        self._reports += 1
        self._news.put(Report(dict(metrics), checkpoint is not None, name))
        if not self._go.get():
            raise Released

    def _stage(self, checkpoint: Checkpoint, name: str | None) -> None:
        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(
                f"report(checkpoint=...) takes a heliostat.train.Checkpoint, got {checkpoint!r}"
            )
        if name is not None:
            check_name("report(checkpoint_dir_name=...)", name)
            if (self._run.path / name).exists():
                raise ValueError(
                    f"report(checkpoint_dir_name={name!r}): there is one of this name in "
                    f"{self._run.path} already; give each checkpoint its own"
                )
        if not Path(checkpoint.path).is_dir():
            raise FileNotFoundError(f"report(checkpoint=...): no directory at {checkpoint.path}")
        stage = self._run.stage(self.context.attempt, self._reports)
        copy_to_stage(Path(checkpoint.path), stage, self.context.world_rank)

    def get_checkpoint(self) -> Checkpoint | None:
        self._asked_for_checkpoint = True
        return self._checkpoint

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
            self._news.put(None)

    # The controller's side.

    def next_report(self) -> Report | None:
        """Wait for the loop's next report; None when the loop is over."""
        return self._news.get()

    def go_on(self) -> None:
        """Let `report` return."""
        self._go.put(True)

    def release(self) -> None:
        """Let `report` end the loop instead of returning."""
        self._go.put(False)


def report(
    metrics: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
    checkpoint_dir_name: str | None = None,
    checkpoint_upload_mode: Any = None,
    delete_local_checkpoint_after_upload: bool | None = None,
    checkpoint_upload_fn: Any = None,
    validation: Any = False,
) -> None:
    """Report metrics, and a checkpoint if there is one. Every rank must call it equally often.

    It returns when all ranks have called it and the checkpoint is stored. Rank 0's metrics are
    the run's. The directories that several ranks report together become one checkpoint.

    Args:
        metrics: Names and values.
        checkpoint: What this rank saved; its directory is copied.
        checkpoint_dir_name: The checkpoint's name in the run's directory; numbered if None.
        checkpoint_upload_mode: Only None or "SYNC".
        delete_local_checkpoint_after_upload: Remove the reported directory afterwards.
        checkpoint_upload_fn: Only None.
        validation: Only False.

    Raises:
        RuntimeError: Outside a training loop.
        TypeError: If `metrics` is not a dict with strings as keys.
        ValueError: If the name cannot be a directory or is taken.
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
    mode = getattr(checkpoint_upload_mode, "name", checkpoint_upload_mode)
    if mode not in (None, "SYNC"):
        raise NotImplementedError(
            f"checkpoint_upload_mode={checkpoint_upload_mode!r} is not offered yet; "
            "checkpoints are stored before report() returns"
        )
    if checkpoint_upload_fn is not None:
        raise NotImplementedError("checkpoint_upload_fn is not offered yet; leave it out")
    if validation:
        raise NotImplementedError(f"validation={validation!r} is not offered yet; leave it out")
    current.session("report").report(
        metrics, checkpoint, checkpoint_dir_name, bool(delete_local_checkpoint_after_upload)
    )


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from: the run's latest, else what the trainer was given.

    Returns:
        The checkpoint, or None at a fresh start.

    Raises:
        RuntimeError: Outside a training loop.

    Example:
        >>> get_checkpoint()
        Traceback (most recent call last):
        RuntimeError: heliostat.train.get_checkpoint() was called outside a training loop; ...
    """
    return current.session("get_checkpoint").get_checkpoint()


def get_dataset_shard(dataset_name: str | None = None) -> DataIterator:
    """This rank's part of a dataset.

    Args:
        dataset_name: The key in the trainer's `datasets`; "train", or the only one, if None.

    Returns:
        An iterator over it.

    Raises:
        RuntimeError: Outside a training loop.
        KeyError: If the trainer was given no such dataset.

    Example:
        >>> get_dataset_shard("train")
        Traceback (most recent call last):
        RuntimeError: heliostat.train.get_dataset_shard() was called outside a training loop; ...
    """
    shard: DataIterator = current.session("get_dataset_shard").get_dataset_shard(dataset_name)
    return shard


def _check_metrics(metrics: object) -> None:
    if not isinstance(metrics, Mapping):
        raise TypeError(f"report() takes a dict of metrics, got {metrics!r}")
    for key in metrics:
        if not isinstance(key, str):
            raise TypeError(f"report(): metric names must be strings, got {key!r}")
