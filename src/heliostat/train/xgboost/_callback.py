"""RayTrainReportCallback: reports each boosting round, and saves the model now and then."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import xgboost
from xgboost.callback import TrainingCallback

import heliostat.train as train
from heliostat.train._boosting import chosen

__all__ = ["RayTrainReportCallback"]


class RayTrainReportCallback(TrainingCallback):
    """Reports the metrics of each boosting round, and saves the model on rank 0.

    Args:
        metrics: Which to report: one name, several, or a dict of new names to XGBoost's; all
            if None. They are called `<dataset>-<metric>`, such as `valid-logloss`.
        filename: The model's file in the checkpoint.
        frequency: Save every so many rounds; 0 for never.
        checkpoint_at_end: Save when training is over, with one more report of the last round's
            metrics, unless that round was saved already.
        results_postprocessing_fn: Turns the metrics of a round into those to report.

    Raises:
        ValueError: If `frequency` is negative.

    Example:
        >>> callback = RayTrainReportCallback(frequency=10)
        >>> # xgboost.train(params, data, 100, evals=[(data, "train")], callbacks=[callback])
    """

    CHECKPOINT_NAME = "model.ubj"

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        if frequency < 0:
            raise ValueError(f"frequency must be >= 0, got {frequency}; 0 for never")
        self._names = [metrics] if isinstance(metrics, str) else metrics
        self._filename = filename
        self._frequency = frequency
        self._at_end = checkpoint_at_end
        self._postprocess = results_postprocessing_fn
        self._last_metrics: dict[str, Any] | None = None
        self._saved_last = False

    @classmethod
    def get_model(
        cls, checkpoint: train.Checkpoint, filename: str = CHECKPOINT_NAME
    ) -> xgboost.Booster:
        """The model that a checkpoint holds.

        Args:
            checkpoint: Made by this callback.
            filename: As given to it.

        Returns:
            The model.

        Raises:
            FileNotFoundError: If the checkpoint holds no such file.

        Example:
            >>> # RayTrainReportCallback.get_model(result.checkpoint).predict(data)
        """
        with checkpoint.as_directory() as directory:
            path = os.path.join(directory, filename)
            if not os.path.isfile(path):
                raise FileNotFoundError(
                    f"{checkpoint} holds no {filename}; it holds: "
                    f"{', '.join(sorted(os.listdir(directory))) or 'nothing'}"
                )
            booster = xgboost.Booster()
            booster.load_model(path)
        return booster

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]
    ) -> bool:
        """Report a round."""
        self._last_metrics = self._metrics(evals_log)
        self._saved_last = self._due(model.num_boosted_rounds())
        self._report(model if self._saved_last else None)
        return False

    def after_training(self, model: Any) -> Any:
        """Save the finished model, unless the last round has done so."""
        if self._at_end and not self._saved_last and self._last_metrics is not None:
            self._report(model)
        return model

    def _due(self, rounds: int) -> bool:
        """Whether a model of so many rounds, those it began with included, is to be saved."""
        return self._frequency > 0 and rounds % self._frequency == 0

    def _metrics(self, evals_log: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        found = {
            f"{data}-{metric}": float(values[-1])
            for data, metrics in evals_log.items()
            for metric, values in metrics.items()
        }
        found = chosen(self._names, found, "none, since xgboost.train got no evals")
        return found if self._postprocess is None else self._postprocess(found)

    def _report(self, model: xgboost.Booster | None) -> None:
        assert self._last_metrics is not None
        if model is None or train.get_context().get_world_rank() != 0:
            train.report(self._last_metrics)
            return
        with tempfile.TemporaryDirectory() as directory:
            model.save_model(os.path.join(directory, self._filename))
            train.report(self._last_metrics, checkpoint=train.Checkpoint(directory))
