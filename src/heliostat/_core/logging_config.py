"""LoggingConfig, and what `init(logging_config=, logging_level=, logging_format=)` does.

Loaded when one of them is given, in the driver and in its workers; otherwise nothing here imports
`logging`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from heliostat._core import session

ENCODINGS = ("TEXT", "JSON")
DEFAULT_FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"
_LIBRARIES = ("heliostat", "ray")  # programs that say `import ray` name the latter
_STANDARD = (
    "args", "asctime", "created", "exc_info", "exc_text", "filename", "funcName", "levelname",
    "levelno", "lineno", "message", "module", "msecs", "msg", "name", "pathname", "process",
    "processName", "relativeCreated", "stack_info", "taskName", "thread", "threadName",
)  # fmt: skip

Undo = Callable[[], None]


@dataclass(frozen=True)
class LoggingConfig:
    """How records of `logging` are written, in the driver and in all workers.

    Each record says which job, worker, task and actor it comes from. The lines of workers reach the
    driver's streams as they are, without a prefix.

    Args:
        encoding: "TEXT" or "JSON" (an object a line).
        log_level: What is written at least, of the root logger.
        additional_log_standard_attrs: Which standard attributes of a record to add, such as
            "name" or "threadName".

    Raises:
        ValueError: For an unknown encoding, level or attribute.

    Example:
        >>> import heliostat as ray
        >>> config = ray.LoggingConfig(encoding="JSON", log_level="WARNING")
        >>> with ray.init(logging_config=config):
        ...     pass
    """

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: Sequence[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(
                f"Invalid encoding type: {self.encoding}. Valid encoding types are: "
                f"{list(ENCODINGS)}"
            )
        _level("log_level", self.log_level)
        for name in self.additional_log_standard_attrs:
            if name not in _STANDARD:
                raise ValueError(
                    f"Unknown python logging standard attribute: {name}. The valid attributes "
                    f"are: {', '.join(_STANDARD)}"
                )


def parse(config: object, level: object, format_: object, *, configure: bool) -> tuple[Any, ...]:
    """The arguments of `init` as a plain tuple, which can travel to workers; empty for nothing.

    Raises:
        TypeError, ValueError: For what is no LoggingConfig, level or format.
    """
    if config is not None:
        if not isinstance(config, LoggingConfig):
            raise TypeError(f"logging_config must be a heliostat.LoggingConfig, got {config!r}")
        number = _level("log_level", config.log_level)
        return "all", config.encoding, number, tuple(config.additional_log_standard_attrs)
    if format_ is not None and not isinstance(format_, str):
        raise TypeError(f"logging_format must be a string, got {format_!r}")
    number = logging.INFO if level is None else _level("logging_level", level)
    return ("libraries", number, format_ or DEFAULT_FORMAT) if configure else ()


def _level(option: str, level: object) -> int:
    known = logging.getLevelNamesMapping()
    if isinstance(level, str) and level.upper() in known:
        return known[level.upper()]
    if isinstance(level, int) and not isinstance(level, bool):
        return level
    raise ValueError(f"{option} must be one of {', '.join(known)}, got {level!r}")


def setup(plain: tuple[Any, ...], node_id: str) -> Undo:
    """Configure `logging` in this process; the result puts it back.

    Args:
        plain: What `parse` made.
        node_id: Of the session.
    """
    kind, *rest = plain
    formatter: logging.Formatter
    if kind == "all":
        encoding, level, attributes = rest
        loggers = [logging.getLogger()]
        formatter = (_Json if encoding == "JSON" else _Text)(node_id, attributes)
    else:
        level, format_ = rest
        loggers = [logging.getLogger(name) for name in _LIBRARIES]
        formatter = logging.Formatter(format_)
    handler = _Stderr()
    handler.setFormatter(formatter)
    before = [(each, each.level, each.propagate, list(each.handlers)) for each in loggers]
    for each in loggers:
        each.setLevel(level)
        each.handlers = [handler]
        each.propagate = False

    def undo() -> None:
        for each, level, propagate, handlers in before:
            each.setLevel(level)
            each.propagate, each.handlers = propagate, handlers

    return undo


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the time."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """It is always the current one."""


class _Formatter(logging.Formatter):
    """Collects what both encodings write."""

    def __init__(self, node_id: str, attributes: Iterable[str]) -> None:
        super().__init__(DEFAULT_FORMAT)
        self._node_id = node_id
        self._attributes = tuple(attributes)

    def extras(self, record: logging.LogRecord) -> dict[str, Any]:
        """What was asked for, what the program added, and where the record comes from."""
        fields = {name: getattr(record, name, None) for name in self._attributes}
        known = (*_STANDARD, *fields)
        fields.update((k, v) for k, v in record.__dict__.items() if k not in known)
        fields.update(self._place())
        fields["timestamp_ns"] = int(record.created * 1e9)
        return fields

    def _place(self) -> dict[str, Any]:
        if not session.is_initialized():
            return {}
        from heliostat._core.context import get_runtime_context  # noqa: PLC0415 - it imports much

        context = get_runtime_context()
        place = {
            "job_id": self._node_id,
            "worker_id": context.get_worker_id(),
            "node_id": self._node_id,
            "actor_id": context.get_actor_id(),
            "task_id": context.get_task_id(),
            "task_name": context.get_task_name(),
            "task_func_name": context.get_task_function_name(),
            "actor_name": context.get_actor_name(),
        }
        return {name: value for name, value in place.items() if value is not None}


class _Text(_Formatter):
    """A line for people, and the rest as `name=value`."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return " ".join([text, *(f"{name}={v}" for name, v in self.extras(record).items())])


class _Json(_Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "process": record.process,
        }
        if record.exc_info:
            record.exc_text = record.exc_text or self.formatException(record.exc_info)
        if record.exc_text:
            fields["exc_text"] = record.exc_text
        if record.stack_info:
            fields["stack_info"] = self.formatStack(record.stack_info)
        return json.dumps({**fields, **self.extras(record)}, default=str)
