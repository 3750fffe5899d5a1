"""TBXLoggerCallback: reports for TensorBoard. Needs the package `tensorboardX`."""

from typing import Any

import numpy as np

from heliostat.tune._metrics import flatten
from heliostat.tune._trial import Trial
from heliostat.tune.logger.logger import LoggerCallback

_SKIPPED = {"pid", "timestamp", "training_iteration", "done"}


class TBXLoggerCallback(LoggerCallback):
    """Writes the numbers of each report as TensorBoard events, and hyperparameters at a trial's end.

    Raises:
        ImportError: tensorboardX is not installed.

    Example:
        >>> callbacks = [TBXLoggerCallback()]  # doctest: +SKIP
    """

    def __init__(self) -> None:
        try:
            from tensorboardX import SummaryWriter  # noqa: PLC0415 - optional
            from tensorboardX.summary import hparams  # noqa: PLC0415 - as above
        except ImportError as error:
            raise ImportError(
                "TBXLoggerCallback needs tensorboardX: pip install tensorboardX"
            ) from error
        self._make, self._hparams = SummaryWriter, hparams
        self._writers: dict[str, Any] = {}
        self._last: dict[str, dict[str, float]] = {}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Add the numbers of a report."""
        if trial.trial_id not in self._writers:
            self._writers[trial.trial_id] = self._make(trial.path, flush_secs=30)
        writer = self._writers[trial.trial_id]
        step = result.get("training_iteration", 0)
        numbers = {
            f"ray/tune/{name}": float(value)
            for name, value in flatten(result).items()
            if isinstance(value, int | float | np.number)
            and not isinstance(value, bool)
            and name not in _SKIPPED
        }
        for name, value in numbers.items():
            writer.add_scalar(name, value, global_step=step)
        self._last[trial.trial_id] = numbers
        writer.flush()

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Add the configuration and close the file."""
        writer = self._writers.pop(trial.trial_id, None)
        if writer is None:
            return
        last = self._last.pop(trial.trial_id, {})
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in flatten(trial.config).items()
        }
        if plain:
            # add_hparams opens a file of the same second for them, which would replace this one.
            for summary in self._hparams(plain, last):
                writer.file_writer.add_summary(summary)
        writer.close()
