"""LoggingConfig: what Serve's processes log, how, and where; Ray's `ray.serve.schema.LoggingConfig`.

A value. `_logs.py` carries it out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class EncodingType(StrEnum):
    """How a line of a log is written."""

    TEXT = "TEXT"
    JSON = "JSON"


@dataclass(frozen=True)
class LoggingConfig:
    """What the loggers "ray.serve" and "heliostat.serve" write in Serve's processes.

    Given to `serve.start` for all, to `serve.run` for an application, or to
    `@serve.deployment(logging_config=...)` for one deployment; the last of them wins.

    Args:
        encoding: "TEXT", or "JSON": an object a line, with application, deployment, replica,
            route and request_id.
        log_level: The lowest level that is written, as a name or number.
        logs_dir: Write to files in this folder too, one a process.
        enable_access_log: A line for each request that a replica answers.
        additional_log_standard_attrs: Attributes of `logging.LogRecord` that lines have too.

    Raises:
        ValueError: For an unknown encoding, level or attribute.

    Example:
        >>> from heliostat.serve.schema import LoggingConfig
        >>> LoggingConfig(encoding="JSON", log_level="debug").log_level
        'DEBUG'
    """

    encoding: str = "TEXT"
    log_level: int | str = "INFO"
    logs_dir: str | None = None
    enable_access_log: bool = True
    additional_log_standard_attrs: Sequence[str] = ()

    def __post_init__(self) -> None:
        try:
            encoding = EncodingType(self.encoding)
        except ValueError:
            raise ValueError(
                f"encoding of a LoggingConfig is 'TEXT' or 'JSON', got {self.encoding!r}"
            ) from None
        object.__setattr__(self, "encoding", encoding)
        level = self.log_level.upper() if isinstance(self.log_level, str) else self.log_level
        if isinstance(level, str) and level not in logging.getLevelNamesMapping():
            names = ", ".join(logging.getLevelNamesMapping())
            raise ValueError(f"log_level is one of {names}, or a number; got {self.log_level!r}")
        object.__setattr__(self, "log_level", level)
        for name in self.additional_log_standard_attrs:
            if name not in RECORD_FIELDS:
                raise ValueError(
                    f"additional_log_standard_attrs: a log record has no {name!r}; it has "
                    f"{', '.join(sorted(RECORD_FIELDS))}"
                )
        object.__setattr__(
            self, "additional_log_standard_attrs", tuple(self.additional_log_standard_attrs)
        )

    @staticmethod
    def parse(value: LoggingConfig | Mapping[str, Any] | None) -> LoggingConfig | None:
        """From what `logging_config=` takes.

        Raises:
            TypeError: For an unknown key, or something else than a LoggingConfig or a dict.
            ValueError: For a wrong value.
        """
        if value is None or isinstance(value, LoggingConfig):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"logging_config is a LoggingConfig or a dict, got {value!r}")
        known = [field.name for field in fields(LoggingConfig)]
        for name in value:
            if name not in known:
                raise TypeError(f"logging_config has no {name!r}; it takes {', '.join(known)}")
        return LoggingConfig(**value)


RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
