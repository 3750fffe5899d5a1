"""ResumeConfig: what becomes of the trials of a study that is taken up again."""

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
