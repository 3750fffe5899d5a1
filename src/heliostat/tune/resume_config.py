"""ResumeConfig: what becomes of the trials of a study that is taken up again. SyncConfig beside it."""

from dataclasses import dataclass
from enum import Enum


class ResumeType(Enum):
    """What becomes of a trial: it counts as it is, goes on, or begins anew."""

    SKIP = "skip"
    RESUME = "resume"
    RESTART = "restart"


@dataclass(frozen=True)
class ResumeConfig:
    """What becomes of the trials of a study that is taken up again.

    Args:
        finished: Of those that ended well.
        unfinished: Of those that had not ended.
        errored: Of those that failed.

    Raises:
        TypeError: Something else than a `ResumeConfig.ResumeType`.

    Example:
        >>> ResumeConfig(errored=ResumeConfig.ResumeType.RESTART).errored.value
        'restart'
    """

    finished: ResumeType = ResumeType.SKIP
    unfinished: ResumeType = ResumeType.RESUME
    errored: ResumeType = ResumeType.SKIP

    def __post_init__(self) -> None:
        for name in ("finished", "unfinished", "errored"):
            if not isinstance(getattr(self, name), ResumeType):
                raise TypeError(
                    f"{name} must be a ResumeConfig.ResumeType, got {getattr(self, name)!r}"
                )


ResumeConfig.ResumeType = ResumeType  # type: ignore[attr-defined]  # Ray's place for it


@dataclass(frozen=True)
class SyncConfig:
    """How a study would be copied to remote storage. On a local or mounted one there is nothing to copy.

    Args:
        sync_period: Seconds between two copies.
        sync_timeout: Seconds a copy may take.
        sync_artifacts: Whether files that trials write are copied.
        sync_artifacts_on_checkpoint: Whether they are copied with each checkpoint.

    Example:
        >>> SyncConfig().sync_period
        300
    """

    sync_period: int = 300
    sync_timeout: int = 1800
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True
