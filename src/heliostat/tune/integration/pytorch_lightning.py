"""Callbacks for PyTorch Lightning in a trial: what was logged is reported, with a checkpoint."""

import importlib
import importlib.util
import os
import tempfile
from collections.abc import Mapping
from typing import Any

from heliostat.train import Checkpoint
from heliostat.tune.session import report

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]

_NAME = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
try:
    _Callback: Any = importlib.import_module(_NAME).Callback
except ImportError as error:
    raise ImportError(
        "heliostat.tune.integration.pytorch_lightning needs it: pip install lightning"
    ) from error


class TuneReportCheckpointCallback(_Callback):  # type: ignore[misc]  # Any to mypy
    """Reports what Lightning has logged, with a checkpoint of its Trainer.

    Args:
        metrics: Which to report: one name, several, or a dict of new names to Lightning's; all if
            None. A name that was not logged yet is left out.
        filename: The file in the checkpoint.
        save_checkpoints: Whether to save.
        on: When: the name of a hook without its `on_`, such as `validation_end` or
            `train_epoch_end`, or several.

    Raises:
        ValueError: Lightning has no such hook.

    Example:
        >>> # pl.Trainer(callbacks=[TuneReportCheckpointCallback({"loss": "val_loss"})], ...)
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = "checkpoint",
        save_checkpoints: bool = True,
        on: str | list[str] = "validation_end",
    ) -> None:
        super().__init__()
        self._metrics = [metrics] if isinstance(metrics, str) else metrics
        self._filename = filename
        self._saves = save_checkpoints
        for hook in [on] if isinstance(on, str) else on:
            if not callable(getattr(_Callback, f"on_{hook}", None)):
                raise ValueError(
                    f"on={hook!r} is no hook of Lightning's; it is one of its callback's methods "
                    "without 'on_', such as 'validation_end'"
                )
            # Lightning calls all hooks by these names, each with the Trainer first.
            setattr(self, f"on_{hook}", self._report)

    def _report(self, trainer: Any, *_: Any) -> None:
        if trainer.sanity_checking:  # Lightning tries the validation loop before it trains
            return
        metrics = self._wanted(trainer.callback_metrics)
        if not metrics:
            return
        if not self._saves:
            report(metrics)
            return
        with tempfile.TemporaryDirectory() as directory:
            trainer.save_checkpoint(os.path.join(directory, self._filename))
            report(metrics, checkpoint=Checkpoint(directory))

    def _wanted(self, logged: Mapping[str, Any]) -> dict[str, Any]:
        names = list(logged) if self._metrics is None else self._metrics
        pairs = names.items() if isinstance(names, dict) else zip(names, names, strict=True)
        return {ours: logged[theirs].item() for ours, theirs in pairs if theirs in logged}


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports what Lightning has logged, and saves nothing.

    Args:
        metrics: Which to report: one name, several, or a dict of new names to Lightning's.
        on: When: the name of a hook without its `on_`, or several.

    Example:
        >>> # pl.Trainer(callbacks=[TuneReportCallback("val_loss")], ...)
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        on: str | list[str] = "validation_end",
    ) -> None:
        super().__init__(metrics, save_checkpoints=False, on=on)
