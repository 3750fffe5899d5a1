"""XGBoostCheckpoint: a model in a directory."""

from __future__ import annotations

import os

import xgboost

from heliostat.train._framework_checkpoint import FrameworkCheckpoint

__all__ = ["XGBoostCheckpoint"]


class XGBoostCheckpoint(FrameworkCheckpoint):
    """A checkpoint with one XGBoost model in it.

    Example:
        >>> import numpy as np, xgboost
        >>> from heliostat.train.xgboost import XGBoostCheckpoint
        >>> data = xgboost.DMatrix(np.arange(8.0).reshape(-1, 1), np.arange(8.0))
        >>> checkpoint = XGBoostCheckpoint.from_model(xgboost.train({}, data, 3))
        >>> checkpoint.get_model().num_boosted_rounds()
        3
    """

    MODEL_FILENAME = "model.json"

    def get_model(self) -> xgboost.Booster:
        """The model.

        Raises:
            FileNotFoundError: If the checkpoint's directory is gone.

        Example:
            >>> # checkpoint.get_model().predict(data)
        """
        booster = xgboost.Booster()
        with self.as_directory() as directory:
            booster.load_model(os.path.join(directory, self.MODEL_FILENAME))
        return booster
