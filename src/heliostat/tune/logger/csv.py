"""CSVLoggerCallback: asks for the `progress.csv` that is always there."""

from heliostat.tune.logger.logger import LoggerCallback


class CSVLoggerCallback(LoggerCallback):
    """Adds nothing: trials write their `progress.csv` by themselves, a row for each report.

    Example:
        >>> callbacks = [CSVLoggerCallback()]
    """
