"""ReportedCheckpoint: a stored checkpoint, what was reported with it, and how its validation went."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from heliostat.train.checkpoint import Checkpoint

__all__ = ["ReportedCheckpoint", "ReportedCheckpointStatus"]


class ReportedCheckpointStatus(Enum):
    """How far a checkpoint has come. COMMITTED: stored, and no validation was asked for.

    Example:
        >>> ReportedCheckpointStatus.VALIDATED.value
        'VALIDATED'
    """

    COMMITTED = "COMMITTED"
    PENDING_VALIDATION = "PENDING_VALIDATION"
    VALIDATED = "VALIDATED"
    VALIDATION_TIMEOUT = "VALIDATION_TIMEOUT"
    VALIDATION_FAILED = "VALIDATION_FAILED"


@dataclass
class ReportedCheckpoint:
    """A checkpoint that was reported and is kept.

    Args:
        checkpoint: Where it is.
        metrics: What rank 0 reported with it, and what its validation found.
        status: How far it has come.

    Example:
        >>> done = ReportedCheckpointStatus.COMMITTED
        >>> ReportedCheckpoint(Checkpoint("/tmp/a"), {"loss": 1.0}, done).status.name
        'COMMITTED'
    """

    checkpoint: Checkpoint
    metrics: dict[str, Any]
    status: ReportedCheckpointStatus
