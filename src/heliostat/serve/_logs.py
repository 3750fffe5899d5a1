"""Logs: carries out a LoggingConfig in this process, and writes the lines of answered requests.

It does not know requests: who answers one says how it went.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from heliostat.serve.context import RequestContext, current_request
from heliostat.serve.logging_config import EncodingType, LoggingConfig

# What users of Ray have in their code, and ours.
LOGGERS = ("ray.serve", "heliostat.serve")
_QUIET = LoggingConfig(enable_access_log=False)  # where nobody asked for anything
_ALWAYS = ("levelname", "asctime", "message", "filename", "lineno", "process")

_access = logging.getLogger("heliostat.serve.access")


class _Formatter(logging.Formatter):
    """A line with where it comes from, and the request that it belongs to."""

    def __init__(self, config: LoggingConfig, fields: Mapping[str, str], name: str) -> None:
        super().__init__()
        self._is_json = config.encoding == EncodingType.JSON
        self._more = config.additional_log_standard_attrs
        self._fields, self._name = fields, name

    def format(self, record: logging.LogRecord) -> str:
        request: RequestContext = getattr(record, "request", None) or current_request()
        record.message = record.getMessage()
        record.asctime = self.formatTime(record)
        return self._json(record, request) if self._is_json else self._text(record, request)

    def _text(self, record: logging.LogRecord, request: RequestContext) -> str:
        words = [record.levelname, record.asctime, self._name, request.request_id]
        words += [str(getattr(record, name, "")) for name in self._more]
        return f"{' '.join(filter(None, words))} -- {record.message}{self._error(record)}"

    def _json(self, record: logging.LogRecord, request: RequestContext) -> str:
        line = {name: getattr(record, name, None) for name in (*_ALWAYS, *self._more)}
        line.update(self._fields)
        if request.request_id:
            line["request_id"] = request.request_id
        if request.route:
            line["route"] = request.route
        error = self._error(record)
        if error:
            line["exc_text"] = error.lstrip("\n")
        return json.dumps(line, default=str)

    def _error(self, record: logging.LogRecord) -> str:
        text = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        return f"\n{text}" if text else ""


def install(config: LoggingConfig | None, fields: Mapping[str, str]) -> None:
    """From now on Serve's loggers write as the config says; not to be called by user code.

    Args:
        config: None: warnings of Serve and what users log from INFO on, and no line a request.
        fields: What every line of this process tells; `component_name` is among them.

    Raises:
        OSError: When logs_dir cannot be written; names it.
    """
    asked = config or _QUIET
    name = fields.get("replica") or fields["component_name"]
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if asked.logs_dir is not None:
        folder = Path(asked.logs_dir)
        folder.mkdir(parents=True, exist_ok=True)
        kind = fields["component_name"]
        file = (
            f"{kind}_{name.replace('#', '_')}.log" if name != kind else f"{kind}_{os.getpid()}.log"
        )
        handlers.append(logging.FileHandler(folder / file))
    for handler in handlers:
        handler.setFormatter(_Formatter(asked, fields, name))
    for each in LOGGERS:
        logger = logging.getLogger(each)
        for old in [h for h in logger.handlers if isinstance(h.formatter, _Formatter)]:
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)
        logger.setLevel(asked.log_level)
        logger.propagate = False
    _access.disabled = not asked.enable_access_log


def is_access_logged() -> bool:
    """Whether a line a request is wanted."""
    return not _access.disabled and _access.isEnabledFor(logging.INFO)


def answered(what: str, status: object, began: float, request: RequestContext) -> None:
    """Write the line of a request that is over.

    Args:
        what: "GET /path", or "CALL method".
        status: What came of it.
        began: When it began, by `time.monotonic`.
        request: The request.
    """
    ms = (time.monotonic() - began) * 1000
    _access.info("%s %s %.1fms", what, status, ms, extra={"request": request})


_access.disabled = True  # until somebody asks for it
