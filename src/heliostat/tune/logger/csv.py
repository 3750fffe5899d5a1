"""CSVLoggerCallback: `progress.csv` in each trial's directory."""

import csv
from pathlib import Path
from typing import IO, Any

from heliostat.tune._metrics import flatten
from heliostat.tune._trial import Trial
from heliostat.tune.logger.logger import LoggerCallback


class CSVLoggerCallback(LoggerCallback):
    """Writes the reports of each trial into `progress.csv`, a row each.

    The columns are those of a trial's first report; nested metrics are `outer/inner`.

    Example:
        >>> callbacks = [CSVLoggerCallback()]
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[IO[str], Any]] = {}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Add a row."""
        row = flatten({key: value for key, value in result.items() if key != "config"})
        if trial.trial_id not in self._open:
            self._open[trial.trial_id] = _open(Path(trial.path, "progress.csv"), list(row))
        file, writer = self._open[trial.trial_id]
        writer.writerow(row)
        file.flush()

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Close the file."""
        if opened := self._open.pop(trial.trial_id, None):
            opened[0].close()


def _open(path: Path, columns: list[str]) -> tuple[IO[str], Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.exists() and path.stat().st_size > 0
    if begun:  # by an attempt before a restore: its columns stay
        with path.open(newline="", encoding="utf-8") as old:
            columns = next(csv.reader(old))
    file = path.open("a", newline="", encoding="utf-8")
    writer = csv.DictWriter(file, columns, extrasaction="ignore")
    if not begun:
        writer.writeheader()
    return file, writer
