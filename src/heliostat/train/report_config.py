"""How a reported checkpoint is stored, and what a reader of checkpoints waits for."""

from __future__ import annotations

from enum import Enum

__all__ = ["CheckpointConsistencyMode", "CheckpointUploadMode"]


class CheckpointUploadMode(Enum):
    """How `report` brings a checkpoint into the run's directory.

    SYNC: it is there when `report` returns. ASYNC: `report` returns at once and a thread of the
    rank's copies it; the directory is removed afterwards, unless
    `delete_local_checkpoint_after_upload=False`. NO_UPLOAD: it stays where it is.

    Example:
        >>> CheckpointUploadMode.ASYNC.default_delete_local_checkpoint_after_upload()
        True
    """

    ASYNC = "ASYNC"
    SYNC = "SYNC"
    NO_UPLOAD = "NO_UPLOAD"

    def default_delete_local_checkpoint_after_upload(self) -> bool:
        """Whether the reported directory is removed when nobody says."""
        return self is CheckpointUploadMode.ASYNC


class CheckpointConsistencyMode(Enum):
    """What `get_all_reported_checkpoints` waits for.

    COMMITTED: everything that was reported is stored. VALIDATED: and its validation is over.

    Example:
        >>> CheckpointConsistencyMode("VALIDATED").name
        'VALIDATED'
    """

    COMMITTED = "COMMITTED"
    VALIDATED = "VALIDATED"
