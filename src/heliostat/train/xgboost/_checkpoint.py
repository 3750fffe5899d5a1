"""XGBoostCheckpoint: a model in a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import xgboost

from heliostat.train._framework_checkpoint import FrameworkCheckpoint, model_directory

if TYPE_CHECKING:
    from heliostat.data.preprocessor import Preprocessor

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

    @classmethod
    def from_model(
        cls,
        booster: xgboost.Booster,
        *,
        preprocessor: Preprocessor | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Save a model.

        Args:
            booster: The model.
            preprocessor: A fitted one, kept beside it.
            path: An empty directory to save in; a new temporary one if None.

        Returns:
            The checkpoint.

        Raises:
            ValueError: If `path` is no directory.

        Example:
            >>> # train.report(metrics, checkpoint=XGBoostCheckpoint.from_model(booster))
        """
        directory = model_directory(path)
        booster.save_model(os.path.join(directory, cls.MODEL_FILENAME))
        checkpoint = cls(directory)
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        return checkpoint

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
