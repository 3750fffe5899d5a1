"""LightGBMCheckpoint: a model in a directory."""

from __future__ import annotations

import os

import lightgbm

from heliostat.train._framework_checkpoint import FrameworkCheckpoint

__all__ = ["LightGBMCheckpoint"]


class LightGBMCheckpoint(FrameworkCheckpoint):
    """A checkpoint with one LightGBM model in it.

    Example:
        >>> import lightgbm, numpy as np
        >>> from heliostat.train.lightgbm import LightGBMCheckpoint
        >>> rows = lightgbm.Dataset(np.arange(80.0).reshape(-1, 1), np.arange(80.0))
        >>> checkpoint = LightGBMCheckpoint.from_model(lightgbm.train({"verbose": -1}, rows, 3))
        >>> checkpoint.get_model().num_trees()
        3
    """

    MODEL_FILENAME = "model.txt"

    def get_model(self) -> lightgbm.Booster:
        """The model.

        Raises:
            FileNotFoundError: If the checkpoint's directory is gone.

        Example:
            >>> # checkpoint.get_model().predict(rows)
        """
        with self.as_directory() as directory:
            return lightgbm.Booster(model_file=os.path.join(directory, self.MODEL_FILENAME))
