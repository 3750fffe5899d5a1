"""FrameworkCheckpoint: a checkpoint with a model in it, and perhaps the preprocessor it needs."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from heliostat.train.checkpoint import Checkpoint

if TYPE_CHECKING:
    from heliostat.data.preprocessor import Preprocessor

PREPROCESSOR = "preprocessor"


class FrameworkCheckpoint(Checkpoint):
    """What checkpoints of boosting libraries share.

    Example:
        >>> import tempfile
        >>> FrameworkCheckpoint.from_directory(tempfile.mkdtemp()).get_preprocessor() is None
        True
    """

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


def model_directory(path: str | os.PathLike[str] | None) -> str:
    """`path`, or a new temporary directory.

    Raises:
        ValueError: If `path` is no directory.
    """
    if path is None:
        return tempfile.mkdtemp(prefix="checkpoint_")
    if not os.path.isdir(path):
        raise ValueError(f"from_model(path=...) must be a directory that is there, got {path!r}")
    return os.fspath(path)
