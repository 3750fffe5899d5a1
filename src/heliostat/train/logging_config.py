"""LoggingConfig: how much Train says of itself."""

import logging
from dataclasses import dataclass

__all__ = ["LoggingConfig"]


@dataclass(frozen=True)
class LoggingConfig:
    """How much Train says of itself, in the process that calls `fit` and in the ranks.

    Args:
        log_level: A level of Python's `logging`, for the logger `heliostat.train`.

    Raises:
        ValueError: For a level that is none.

    Example:
        >>> LoggingConfig("warning").log_level
        'WARNING'
    """

    log_level: str = "INFO"

    def __post_init__(self) -> None:
        levels = logging.getLevelNamesMapping()
        level: object = self.log_level
        if not isinstance(level, str) or level.upper() not in levels:
            raise ValueError(f"log_level must be one of {', '.join(levels)}, got {level!r}")
        object.__setattr__(self, "log_level", level.upper())
