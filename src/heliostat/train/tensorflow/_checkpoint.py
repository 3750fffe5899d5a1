"""TensorflowCheckpoint: a Keras model in a directory. Needs Keras where models are read."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from heliostat.train._framework_checkpoint import FrameworkCheckpoint

if TYPE_CHECKING:
    from heliostat.data.preprocessor import Preprocessor

_FILE = "_model_filename"


class TensorflowCheckpoint(FrameworkCheckpoint):
    """A checkpoint with one Keras model in it.

    Example:
        >>> checkpoint = TensorflowCheckpoint.from_model(model)  # doctest: +SKIP
        >>> checkpoint.get_model().predict(rows)  # doctest: +SKIP
    """

    MODEL_FILENAME = "model.keras"

    @classmethod
    def from_model(
        cls,
        model: Any,
        *,
        preprocessor: Preprocessor | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Save a Keras model.

        Args:
            model: The model.
            preprocessor: A fitted one, kept beside it.
            path: An empty directory to save in; a new temporary one if None.

        Returns:
            The checkpoint.

        Raises:
            ValueError: If `path` is no directory.

        Example:
            >>> # train.report(metrics, checkpoint=TensorflowCheckpoint.from_model(model))
        """
        return super().from_model(_Saved(model), preprocessor=preprocessor, path=path)

    @classmethod
    def from_h5(cls, file_path: str, *, preprocessor: Preprocessor | None = None) -> Self:
        """Keep a copy of a model that is in a file of Keras's older format.

        Args:
            file_path: The file, whose name ends in `.h5`.
            preprocessor: A fitted one, kept beside it.

        Returns:
            The checkpoint.

        Raises:
            ValueError: If there is no such file.

        Example:
            >>> TensorflowCheckpoint.from_h5("model.txt")
            Traceback (most recent call last):
            ValueError: from_h5(file_path=...) must be a file that ends in .h5, got 'model.txt'
        """
        if not os.path.isfile(file_path) or not file_path.endswith(".h5"):
            raise ValueError(
                f"from_h5(file_path=...) must be a file that ends in .h5, got {file_path!r}"
            )
        directory = tempfile.mkdtemp(prefix="checkpoint_")
        shutil.copy(file_path, directory)
        return cls._of(directory, os.path.basename(file_path), preprocessor)

    @classmethod
    def from_saved_model(cls, dir_path: str, *, preprocessor: Preprocessor | None = None) -> Self:
        """Keep a copy of a model that is in a directory of TensorFlow's SavedModel format.

        Args:
            dir_path: The directory.
            preprocessor: A fitted one, kept beside it.

        Returns:
            The checkpoint.

        Raises:
            ValueError: If there is no such directory.

        Example:
            >>> TensorflowCheckpoint.from_saved_model("/tmp/no-such-model")
            Traceback (most recent call last):
            ValueError: from_saved_model(dir_path=...) must be a directory, got '/tmp/no-such-model'
        """
        if not os.path.isdir(dir_path):
            raise ValueError(
                f"from_saved_model(dir_path=...) must be a directory, got {dir_path!r}"
            )
        directory = tempfile.mkdtemp(prefix="checkpoint_")
        shutil.copytree(dir_path, directory, dirs_exist_ok=True)
        return cls._of(directory, ".", preprocessor)

    @classmethod
    def _of(cls, directory: str, name: str, preprocessor: Preprocessor | None) -> Self:
        checkpoint = cls(directory)
        checkpoint.update_metadata({_FILE: name})
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        return checkpoint

    def get_model(self) -> Any:
        """The model.

        Returns:
            What `keras.models.load_model` makes of it.

        Raises:
            ImportError: If Keras is not installed.
            FileNotFoundError: If the checkpoint's directory is gone.

        Example:
            >>> # checkpoint.get_model().predict(rows)
        """
        try:
            import keras  # noqa: PLC0415 - optional
        except ImportError as error:
            raise ImportError(
                "TensorflowCheckpoint.get_model() needs Keras: pip install tensorflow, or keras"
            ) from error
        name = self.get_metadata().get(_FILE, self.MODEL_FILENAME)
        with self.as_directory() as directory:
            return keras.models.load_model(Path(directory, name))


class _Saved:
    """A model of Keras's, which calls saving by another name than boosters do."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def save_model(self, filename: str, /) -> None:
        """Write it to a file."""
        self._model.save(filename)
