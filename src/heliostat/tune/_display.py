"""What people see of a study: a live line or a reporter's tables, failures as they come, a last table."""

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliostat.tune._metrics import look_up, rank
from heliostat.tune._table import show, summary
from heliostat.tune._trial import Trial
from heliostat.tune.progress_reporter import ProgressReporter

if TYPE_CHECKING:
    from heliostat.tune._experiment import Experiment
    from heliostat.util.progress import Line

# After so many tracebacks the rest are counted only: one mistake often fails every trial.
MOST_TRACEBACKS = 3
_MOST_LINES = 20


class Display:
    """Shows a study to people.

    Args:
        line: The live line; None to show nothing at all.
        space: The search space, for the columns.
        metric: The metric that is optimised.
        mode: "min" or "max".
        reporter: Who shows tables instead of the line and the last table.
    """

    def __init__(
        self,
        line: "Line | None",
        space: Mapping[str, Any],
        metric: str | None,
        mode: str | None,
        reporter: ProgressReporter | None = None,
    ) -> None:
        self.interrupted = False
        self._line = line
        self._reporter = reporter
        self._space = space
        self._metric = metric
        self._mode = mode or "max"
        self._best: Any = None
        self._failures = 0

    def saw(self, trial: Trial) -> None:
        """A trial ended; remember the best value."""
        if self._metric is None:
            return
        value = look_up(trial.last_result, self._metric)
        if rank(value, self._mode) < rank(self._best, self._mode):
            self._best = value

    def update(self, experiment: "Experiment") -> None:
        """Move the line, or let the reporter report."""
        if self._reporter is not None:
            trials = experiment.get_trials()
            if self._reporter.should_report(trials):
                self._reporter.report(trials, False)
            return
        if self._line is None:
            return
        notes = [f"{experiment.running} running"]
        if experiment.failed:
            notes.append(f"{experiment.failed} failed")
        if self._best is not None:
            notes.append(f"best {self._metric}={show(self._best)}")
        if self.interrupted:
            notes.append("stopping")
        total = experiment.total
        known = total if total is not None and total != float("inf") else None
        self._line.update(experiment.ended, known, ", ".join(notes))

    def failed(self, trial: Trial) -> None:
        """Show why a trial failed."""
        self._failures += 1
        if self._is_quiet() or self._failures > MOST_TRACEBACKS:
            return
        assert trial.error is not None
        lines = "".join(traceback.format_exception_only(trial.error)).rstrip().splitlines()
        if len(lines) > _MOST_LINES:  # the end is where the user's code is
            lines = [lines[0], "...", *lines[2 - _MOST_LINES :]]
        text = "\n".join(lines)
        sys.stderr.write(f"Trial {trial} failed:\n{text}\nSee {trial.path}/error.txt\n")
        if self._failures == MOST_TRACEBACKS:
            sys.stderr.write("More failures are counted, not shown.\n")

    def finish(self, trials: Sequence[Trial], directory: str) -> None:
        """Show the table of trials."""
        if self._is_quiet():
            return
        if self.interrupted:
            sys.stderr.write(f"Interrupted. Go on with Tuner.restore({directory!r}, trainable).\n")
        if self._reporter is not None:
            self._reporter.report(list(trials), True)
        else:
            sys.stdout.write(summary(trials, self._space, self._metric, self._mode) + "\n")
        sys.stdout.write(f"Results: {directory}\n")
        sys.stdout.flush()

    def _is_quiet(self) -> bool:
        return self._line is None and self._reporter is None
