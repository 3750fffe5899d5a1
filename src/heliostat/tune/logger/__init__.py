"""Loggers: callbacks that write reports for other tools, one file each."""

from heliostat.tune.logger.csv import CSVLoggerCallback
from heliostat.tune.logger.json import JsonLoggerCallback
from heliostat.tune.logger.logger import LoggerCallback, pretty_print
from heliostat.tune.logger.tensorboardx import TBXLoggerCallback

__all__ = [
    "CSVLoggerCallback",
    "JsonLoggerCallback",
    "LoggerCallback",
    "TBXLoggerCallback",
    "pretty_print",
]
