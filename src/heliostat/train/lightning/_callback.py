"""RayTrainReportCallback: reports Lightning's metrics and a checkpoint after each epoch."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import heliostat.train as train
from heliostat.train.lightning._package import pl
from heliostat.train.report_config import CheckpointUploadMode
from heliostat.train.validation_config import ValidationTaskConfig


class RayTrainReportCallback(pl.callbacks.Callback):  # type: ignore[misc]  # Any to mypy
    """Reports after each epoch what was logged, with a checkpoint of the Trainer.

    Args:
        checkpoint_upload_mode: How the checkpoint is stored, as in `report`.
        validation: Whether it is validated, as in `report`.

    Example:
        >>> # pl.Trainer(callbacks=[RayTrainReportCallback()], enable_checkpointing=False, ...)
    """

    CHECKPOINT_NAME = "checkpoint.ckpt"

    def __init__(
        self,
        checkpoint_upload_mode: CheckpointUploadMode | None = None,
        validation: bool | ValidationTaskConfig = False,
    ) -> None:
        super().__init__()
        self.checkpoint_upload_mode = checkpoint_upload_mode or CheckpointUploadMode.SYNC
        self.validation = validation

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report an epoch."""
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        metrics |= {"epoch": trainer.current_epoch, "step": trainer.global_step}
        # Every rank takes part in saving, as sharded strategies need; what is alike is kept once.
        directory = tempfile.mkdtemp(prefix="lightning-")
        trainer.save_checkpoint(os.path.join(directory, self.CHECKPOINT_NAME), weights_only=False)
        saved = bool(os.listdir(directory))
        train.report(
            metrics,
            checkpoint=train.Checkpoint(directory) if saved else None,
            checkpoint_upload_mode=self.checkpoint_upload_mode,
            delete_local_checkpoint_after_upload=self._is_surplus() if saved else None,
            validation=self.validation if saved else False,
        )
        if not saved:
            os.rmdir(directory)

    def _is_surplus(self) -> bool | None:
        """Whether the directory is of no use any more when it was stored."""
        return None if self.checkpoint_upload_mode is CheckpointUploadMode.NO_UPLOAD else True
