"""LightGBMCheckpoint: a model in a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import lightgbm

from heliostat.train._framework_checkpoint import FrameworkCheckpoint, model_directory

if TYPE_CHECKING:
    from heliostat.data.preprocessor import Preprocessor

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

    @classmethod
    def from_model(
        cls,
        booster: lightgbm.Booster,
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
            >>> # train.report(metrics, checkpoint=LightGBMCheckpoint.from_model(booster))
        """
        directory = model_directory(path)
        booster.save_model(os.path.join(directory, cls.MODEL_FILENAME))
        checkpoint = cls(directory)
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        return checkpoint

    def get_model(self) -> lightgbm.Booster:
        """The model.

        Raises:
            FileNotFoundError: If the checkpoint's directory is gone.

        Example:
            >>> # checkpoint.get_model().predict(rows)
        """
        with self.as_directory() as directory:
            return lightgbm.Booster(model_file=os.path.join(directory, self.MODEL_FILENAME))
