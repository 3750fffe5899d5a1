"""RayTrainReportCallback: reports each boosting round, and saves the model now and then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import xgboost
from xgboost.callback import TrainingCallback

from heliostat.train._boosting_report import BoostingReport, model_file
from heliostat.train.checkpoint import Checkpoint

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
        self._rounds = BoostingReport(metrics, filename, frequency, results_postprocessing_fn)
        self._at_end = checkpoint_at_end
        self._last_metrics: dict[str, Any] | None = None
        self._saved_last = False

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> xgboost.Booster:
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
        booster = xgboost.Booster()
        with model_file(checkpoint, filename) as path:
            booster.load_model(path)
        return booster

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Any]]
    ) -> bool:
        """Report a round."""
        self._last_metrics = self._metrics(evals_log)
        self._saved_last = self._rounds.due(model.num_boosted_rounds())
        self._rounds.report(self._last_metrics, model if self._saved_last else None)
        return False

    def after_training(self, model: Any) -> Any:
        """Save the finished model, unless the last round has done so."""
        if self._at_end and not self._saved_last and self._last_metrics is not None:
            self._rounds.report(self._last_metrics, model)
        return model

    def _metrics(self, evals_log: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        found = {
            f"{data}-{metric}": float(values[-1])
            for data, metrics in evals_log.items()
            for metric, values in metrics.items()
        }
        return self._rounds.wanted(found, "none, since xgboost.train got no evals")
