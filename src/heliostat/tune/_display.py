"""What people see of a study: a live line or a reporter's tables, failures as they come, a last table.

Tables of trials are text here; who else shows them, and when, is not known.
"""

import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliostat.tune._metrics import look_up, rank, user_metrics
from heliostat.tune._trial import ERROR, TERMINATED, Trial
from heliostat.tune.search import _space

if TYPE_CHECKING:
    from heliostat.tune._experiment import Experiment
    from heliostat.tune.progress_reporter import ProgressReporter
    from heliostat.util.progress import Line

# After so many tracebacks the rest are counted only: one mistake often fails every trial.
MOST_TRACEBACKS = 3
_MOST_LINES = 20
MOST_ROWS = 20
_LIVE_ROWS = 5
_MOST_METRICS = 4
WIDEST = 28


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
        reporter: "ProgressReporter | None" = None,
    ) -> None:
        self.interrupted = False
        self._line = line
        self._reporter = reporter
        self._space = space
        self._metric = metric
        self._mode = mode or "max"
        self._top: list[Trial] = []  # the best that have ended
        self._failures = 0
        if line is not None:
            line.below = self._table

    def saw(self, trial: Trial) -> None:
        """A trial ended; remember the best."""
        if self._metric is not None:
            self._top = sorted([*self._top, trial], key=self._rank)[:_LIVE_ROWS]

    def _rank(self, trial: Trial) -> Any:
        return rank(look_up(trial.last_result, str(self._metric)), self._mode)

    def _table(self) -> list[str]:
        """The best so far, below the line; called on another thread."""
        columns = {**parameter_columns(self._space), ("metric", self._metric): str(self._metric)}
        return align(rows(self._top, columns)).splitlines() if self._top else []

    def update(self, experiment: "Experiment") -> None:
        """Move the line, or let the reporter report."""
        if self._reporter is not None:
            trials = experiment.get_trials()
            if self._reporter.should_report(trials):
                self._reporter.report(trials, False)
            return
        if self._line is None:
            return
        notes = [f"{experiment.running} running"] if experiment.running else []
        if experiment.failed:
            notes.append(f"{experiment.failed} failed")
        best = look_up(self._top[0].last_result, str(self._metric)) if self._top else None
        if best is not None:
            notes.append(f"best {self._metric}={show(best)}")
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


def summary(
    trials: Sequence[Trial], space: Mapping[str, Any], metric: str | None, mode: str
) -> str:
    """The table of trials, best first when there is a metric; long ones show the best rows only."""
    head, table = summary_rows(trials, parameter_columns(space), metric, mode)
    return f"{head}\n{align(table)}"


def summary_rows(
    trials: Sequence[Trial], parameters: Mapping[Any, str], metric: str | None, mode: str
) -> tuple[str, list[list[str]]]:
    """What `summary` says: a line, and the cells below it."""
    shown = list(trials)
    if metric is not None:
        shown.sort(key=lambda trial: rank(look_up(trial.last_result, metric), mode))
    ended = sum(trial.state == TERMINATED for trial in trials)
    failed = sum(trial.state == ERROR for trial in trials)
    head = f"{len(trials)} trials: {ended} terminated, {failed} failed"
    if len(shown) > MOST_ROWS:
        head += f"; the {'best' if metric else 'first'} {MOST_ROWS}:"
        shown = shown[:MOST_ROWS]
    metrics = infer_metrics(trials, _MOST_METRICS, metric)
    columns = {**parameters, **{("metric", name): name for name in metrics}}
    return head, rows(shown, columns)


def parameter_columns(space: Mapping[str, Any]) -> dict[Any, str]:
    """What a space leaves open, by path, with titles."""
    return {path: "/".join(map(str, path)) for path, _ in _space.open_values(space)}


def infer_metrics(trials: Sequence[Trial], limit: int, first: str | None = None) -> list[str]:
    """Names of numbers that trials report, the one that is optimised first."""
    names: dict[str, None] = {} if first is None else {first: None}
    for trial in trials[:MOST_ROWS]:
        names |= dict.fromkeys(
            name
            for name, value in user_metrics(trial.last_result).items()
            if isinstance(value, int | float)
        )
    return list(names)[:limit]


def rows(
    trials: Sequence[Trial], columns: Mapping[Any, str], widest: int = WIDEST
) -> list[list[str]]:
    """A row of cells for each trial, below their titles.

    Args:
        trials: Which.
        columns: Titles of parameters, by their path in the config, and of metrics, by `("metric", name)`.
        widest: Longer cells are cut.
    """
    parameters = {key: title for key, title in columns.items() if key[:1] != ("metric",)}
    metrics = {key[1]: title for key, title in columns.items() if key[:1] == ("metric",)}
    table = [["trial", "status", *parameters.values(), "iter", "time (s)", *metrics.values()]]
    for trial in trials:
        result = trial.last_result
        cells = [chosen_at(trial.config, path) for path in parameters]
        cells += [result.get("training_iteration", ""), result.get("time_total_s", "")]
        cells += [look_up(result, name) for name in metrics]
        table.append([str(trial), trial.status, *(show(cell, widest) for cell in cells)])
    return table


def chosen_at(config: Any, path: Sequence[Any]) -> Any:
    """The value at a path of a config; None where a searcher left it out."""
    try:
        for step in path:
            config = config[step]
    except (KeyError, IndexError, TypeError):
        return None
    return config


def align(table: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text in columns; the first row is the title."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [_pad(row, widths) for row in table]
    return "\n".join([lines[0], _pad(["-" * width for width in widths], widths), *lines[1:]])


def _pad(row: Sequence[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def show(value: Any, widest: int = WIDEST) -> str:
    """A value in few characters."""
    if value is None:
        return ""
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= widest else text[: widest - 3] + "..."
