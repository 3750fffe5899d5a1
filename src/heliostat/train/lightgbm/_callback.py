"""RayTrainReportCallback: reports each boosting round, and saves the model now and then."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import lightgbm
from lightgbm.callback import CallbackEnv

import heliostat.train as train
from heliostat.train._boosting import chosen

__all__ = ["RayTrainReportCallback"]


class RayTrainReportCallback:
    """Reports the metrics of each boosting round, and saves the model on rank 0.

    LightGBM evaluates on a rank's own rows: what is reported is rank 0's.

    Args:
        metrics: Which to report: one name, several, or a dict of new names to LightGBM's; all
            if None. They are called `<dataset>-<metric>`, such as `valid-binary_logloss`.
        filename: The model's file in the checkpoint.
        frequency: Save every so many rounds; 0 for never.
        checkpoint_at_end: Save in the last round. A training that `lightgbm.early_stopping`
            ends before it has no last round: say a frequency, too.
        results_postprocessing_fn: Turns the metrics of a round into those to report.

    Raises:
        ValueError: If `frequency` is negative.

    Example:
        >>> callback = RayTrainReportCallback(frequency=10)
        >>> # lightgbm.train(params, rows, 100, valid_sets=[rows], callbacks=[callback])
    """

    CHECKPOINT_NAME = "model.txt"

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        if frequency < 0:
            raise ValueError(f"frequency must be >= 0, got {frequency}; 0 for never")
        self._names = [metrics] if isinstance(metrics, str) else metrics
        self._filename = filename
        self._frequency = frequency
        self._at_end = checkpoint_at_end
        self._postprocess = results_postprocessing_fn

    @classmethod
    def get_model(
        cls, checkpoint: train.Checkpoint, filename: str = CHECKPOINT_NAME
    ) -> lightgbm.Booster:
        """The model that a checkpoint holds.

        Args:
            checkpoint: Made by this callback.
            filename: As given to it.

        Returns:
            The model.

        Raises:
            FileNotFoundError: If the checkpoint holds no such file.

        Example:
            >>> # RayTrainReportCallback.get_model(result.checkpoint).predict(rows)
        """
        with checkpoint.as_directory() as directory:
            path = os.path.join(directory, filename)
            if not os.path.isfile(path):
                raise FileNotFoundError(
                    f"{checkpoint} holds no {filename}; it holds: "
                    f"{', '.join(sorted(os.listdir(directory))) or 'nothing'}"
                )
            return lightgbm.Booster(model_file=path)

    def __call__(self, env: CallbackEnv) -> None:
        """Report a round."""
        done = env.iteration + 1
        due = self._frequency > 0 and done % self._frequency == 0
        last = self._at_end and done == env.end_iteration
        metrics = self._metrics(env)
        if not (due or last) or train.get_context().get_world_rank() != 0:
            train.report(metrics)
            return
        assert isinstance(env.model, lightgbm.Booster)
        with tempfile.TemporaryDirectory() as directory:
            env.model.save_model(os.path.join(directory, self._filename))
            train.report(metrics, checkpoint=train.Checkpoint(directory))

    def _metrics(self, env: CallbackEnv) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for data, metric, value, _, *deviation in env.evaluation_result_list or ():
            mean = "-mean" if deviation else ""  # of the folds of lightgbm.cv
            found[f"{data}-{metric}{mean}"] = float(value)
            if deviation:
                found[f"{data}-{metric}-stdv"] = deviation[0]
        found = chosen(self._names, found, "none, since lightgbm.train got no valid_sets")
        return found if self._postprocess is None else self._postprocess(found)
