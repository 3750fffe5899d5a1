"""Callbacks for XGBoost in a trial: each boosting round is a report."""

from collections.abc import Callable
from typing import Any

from heliostat.train.xgboost import RayTrainReportCallback

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]

# A trial hears `train.report`, so what reports and saves in a rank does so in a trial.
TuneReportCheckpointCallback = RayTrainReportCallback


class TuneReportCallback(RayTrainReportCallback):
    """Reports the metrics of each boosting round, and saves no model.

    Args:
        metrics: Which to report: one name, several, or a dict of new names to XGBoost's; all if
            None. They are called `<dataset>-<metric>`.
        results_postprocessing_fn: Turns the metrics of a round into those to report.

    Example:
        >>> callback = TuneReportCallback("valid-rmse")
    """

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            metrics,
            checkpoint_at_end=False,
            results_postprocessing_fn=results_postprocessing_fn,
        )
