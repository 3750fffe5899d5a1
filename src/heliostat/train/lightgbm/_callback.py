"""RayTrainReportCallback: reports each boosting round, and saves the model now and then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
from lightgbm.callback import CallbackEnv

from heliostat.train._boosting_report import BoostingReport, model_file
from heliostat.train.checkpoint import Checkpoint

__all__ = ["RayTrainReportCallback"]


class RayTrainReportCallback:
    """Reports the metrics of each boosting round, and saves the model on rank 0.

    LightGBM evaluates on a rank's own rows: what is reported is rank 0's. Of `lightgbm.cv` the means
    and deviations are reported, and no model is saved: it has one for each fold.

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
        self._rounds = BoostingReport(metrics, filename, frequency, results_postprocessing_fn)
        self._at_end = checkpoint_at_end

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> lightgbm.Booster:
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
        with model_file(checkpoint, filename) as path:
            return lightgbm.Booster(model_file=path)

    def __call__(self, env: CallbackEnv) -> None:
        """Report a round."""
        done = env.iteration + 1
        last = self._at_end and done == env.end_iteration
        saved = self._rounds.due(done) or last
        model = env.model if saved and isinstance(env.model, lightgbm.Booster) else None
        self._rounds.report(self._metrics(env), model)

    def _metrics(self, env: CallbackEnv) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for data, metric, value, _, *deviation in env.evaluation_result_list or ():
            mean = "-mean" if deviation else ""  # of the folds of lightgbm.cv
            found[f"{data}-{metric}{mean}"] = float(value)
            if deviation:
                found[f"{data}-{metric}-stdv"] = deviation[0]
        return self._rounds.wanted(found, "none, since lightgbm.train got no valid_sets")
