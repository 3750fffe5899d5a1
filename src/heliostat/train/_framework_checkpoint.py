"""FrameworkCheckpoint: a checkpoint with a model in it, and perhaps the preprocessor it needs."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from heliostat.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from heliostat.data.preprocessor import Preprocessor

PREPROCESSOR = "preprocessor"


class Saves(Protocol):
    """A model that can be saved, such as a booster."""

    def save_model(self, filename: str, /) -> Any:
        """Write it to a file."""


class FrameworkCheckpoint(Checkpoint):
    """What checkpoints of boosting libraries share.

    Example:
        >>> import tempfile
        >>> FrameworkCheckpoint.from_directory(tempfile.mkdtemp()).get_preprocessor() is None
        True
    """

    MODEL_FILENAME: ClassVar[str]

    @classmethod
    def from_model(
        cls,
        booster: Saves,
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
        if path is None:
            path = tempfile.mkdtemp(prefix="checkpoint_")
        elif not os.path.isdir(path):
            raise ValueError(
                f"from_model(path=...) must be a directory that is there, got {path!r}"
            )
        booster.save_model(os.path.join(path, cls.MODEL_FILENAME))
        checkpoint = cls(path)
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        return checkpoint

    def set_preprocessor(self, preprocessor: Preprocessor) -> None:
        """Keep a fitted preprocessor beside the model.

        Args:
            preprocessor: What rows go through before the model sees them.

        Example:
            >>> # checkpoint.set_preprocessor(scaler)
        """
        self.update_metadata({PREPROCESSOR: preprocessor.serialize()})

    def get_preprocessor(self) -> Preprocessor | None:
        """The preprocessor that was kept, or None. Only for checkpoints that you trust: it is code.

        Example:
            >>> # rows = checkpoint.get_preprocessor().transform(rows)
        """
        text: Any = self.get_metadata().get(PREPROCESSOR)
        if text is None:
            return None
        from heliostat.data.preprocessor import Preprocessor  # noqa: PLC0415 - slow to load

        return Preprocessor.deserialize(text)
