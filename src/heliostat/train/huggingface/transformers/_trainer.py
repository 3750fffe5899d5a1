"""RayTrainReportCallback and prepare_trainer for Transformers' Trainer."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import transformers
from torch.utils.data import DataLoader, Dataset, IterableDataset
from transformers.trainer_utils import get_last_checkpoint

import heliostat.train as train

TrainerT = TypeVar("TrainerT", bound=transformers.Trainer)


class RayTrainReportCallback(transformers.TrainerCallback):
    """Reports what the Trainer has logged, with the checkpoint it has saved, each time it saves.

    Let it log and evaluate at least as often as it saves, so that the metrics are those of then.

    Example:
        >>> # trainer.add_callback(RayTrainReportCallback())
    """

    CHECKPOINT_NAME = "checkpoint"

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report what was saved."""
        metrics = {name: value for entry in state.log_history for name, value in entry.items()}
        saved = get_last_checkpoint(args.output_dir)  # type: ignore[no-untyped-call]  # it has no types
        with tempfile.TemporaryDirectory(prefix="transformers-") as directory:
            checkpoint = None
            # Ranks of one machine see one directory; what it holds of all of them is kept once.
            if saved is not None and train.get_context().get_world_rank() == 0:
                shutil.copytree(saved, os.path.join(directory, self.CHECKPOINT_NAME))
                checkpoint = train.Checkpoint(directory)
            train.report(metrics, checkpoint=checkpoint)


class _Batches(IterableDataset[Any]):
    """Batches that are made already, for a DataLoader that makes none."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches
        self._used = False

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self._batches)
        if batches is self._batches and self._used:
            raise RuntimeError(
                "the Trainer begins another epoch, but its batches can be gone through only once; "
                "set max_steps to what one epoch has, or give it what iter_torch_batches() returns"
            )
        self._used = True
        return batches


def prepare_trainer(trainer: TrainerT) -> TrainerT:
    """Let a Trainer take its data from a Dataset of ours as well.

    Give it as `train_dataset` or `eval_dataset` what `get_dataset_shard().iter_torch_batches()`
    returns, and say `max_steps`. Each epoch begins it anew.

    Args:
        trainer: Transformers' Trainer, or a subclass.

    Returns:
        The same.

    Example:
        >>> # trainer = prepare_trainer(Trainer(model, arguments, train_dataset=batches))
    """
    kind = type(trainer)

    class OverBatches(kind):  # type: ignore[valid-type, misc]  # of whatever class it is
        """The Trainer with loaders that pass batches through."""

        def get_train_dataloader(self) -> DataLoader[Any]:
            if _is_made(self.train_dataset):
                return _passing(self.train_dataset)
            loader: DataLoader[Any] = super().get_train_dataloader()
            return loader

        def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
            chosen = self.eval_dataset if eval_dataset is None else eval_dataset
            if isinstance(chosen, str) and isinstance(self.eval_dataset, dict):
                chosen = self.eval_dataset[chosen]
            if _is_made(chosen):
                return _passing(chosen)
            loader: DataLoader[Any] = super().get_eval_dataloader(eval_dataset)
            return loader

    OverBatches.__name__, OverBatches.__qualname__ = kind.__name__, kind.__qualname__
    trainer.__class__ = OverBatches
    return trainer


def _is_made(data: Any) -> bool:
    """Whether data gives batches, rather than rows by number."""
    return (
        isinstance(data, Iterable)
        and not isinstance(data, (Dataset, dict, str))
        and not hasattr(data, "__getitem__")
    )


def _passing(batches: Iterable[Any]) -> DataLoader[Any]:
    return DataLoader(_Batches(batches), batch_size=1, collate_fn=_only)


def _only(batches: list[Any]) -> Any:
    return batches[0]
