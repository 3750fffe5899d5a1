"""What people see of a study: one live line while it runs, failures as they come, a table at the end."""

import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from heliostat.tune import _space
from heliostat.tune._metrics import look_up, rank, user_metrics
from heliostat.tune._trial import ERROR, TERMINATED, Trial

if TYPE_CHECKING:
    from heliostat.tune._experiment import Experiment
    from heliostat.util.progress import Line

MOST_ROWS = 20
# After so many tracebacks the rest are counted only: one mistake often fails every trial.
MOST_TRACEBACKS = 3
_MOST_LINES = 20
_MOST_METRICS = 4
_WIDEST = 28


class Display:
    """Shows a study to people.

    Args:
        line: The live line; None to show nothing at all.
        space: The search space, for the columns.
        metric: The metric that is optimised.
        mode: "min" or "max".
    """

    def __init__(
        self,
        line: "Line | None",
        space: Mapping[str, Any],
        metric: str | None,
        mode: str | None,
    ) -> None:
        self.interrupted = False
        self._line = line
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
        """Move the line."""
        if self._line is None:
            return
        notes = [f"{experiment.running} running"]
        if experiment.failed:
            notes.append(f"{experiment.failed} failed")
        if self._best is not None:
            notes.append(f"best {self._metric}={_show(self._best)}")
        if self.interrupted:
            notes.append("stopping")
        total = experiment.total
        known = total if total is not None and total != float("inf") else None
        self._line.update(experiment.ended, known, ", ".join(notes))

    def failed(self, trial: Trial) -> None:
        """Show why a trial failed."""
        self._failures += 1
        if self._line is None or self._failures > MOST_TRACEBACKS:
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
        if self._line is None:
            return
        if self.interrupted:
            sys.stderr.write(f"Interrupted. Go on with Tuner.restore({directory!r}, trainable).\n")
        sys.stdout.write(summary(trials, self._space, self._metric, self._mode) + "\n")
        sys.stdout.write(f"Results: {directory}\n")
        sys.stdout.flush()


def summary(
    trials: Sequence[Trial], space: Mapping[str, Any], metric: str | None, mode: str
) -> str:
    """The table of trials, best first when there is a metric; long ones show the best rows only."""
    shown = list(trials)
    if metric is not None:
        shown.sort(key=lambda trial: rank(look_up(trial.last_result, metric), mode))
    ended = sum(trial.state == TERMINATED for trial in trials)
    failed = sum(trial.state == ERROR for trial in trials)
    head = f"{len(trials)} trials: {ended} terminated, {failed} failed"
    if len(shown) > MOST_ROWS:
        head += f"; the {'best' if metric else 'first'} {MOST_ROWS}:"
        shown = shown[:MOST_ROWS]
    paths = list(dict.fromkeys(path for path, _ in _space.open_values(space)))
    metrics = _columns(trials, metric)
    titles = [
        "trial", "status", *("/".join(map(str, path)) for path in paths), "iter", "time (s)", *metrics
    ]  # fmt: skip
    rows = [titles]
    for trial in shown:
        chosen = _space.chosen(space, trial.config)
        result = trial.last_result
        cells = [chosen.get(path, "") for path in paths]
        cells += [result.get("training_iteration", ""), result.get("time_total_s", "")]
        cells += [look_up(result, name) for name in metrics]
        rows.append([str(trial), trial.status, *map(_show, cells)])
    return f"{head}\n{align(rows)}"


def _columns(trials: Sequence[Trial], metric: str | None) -> list[str]:
    names: dict[str, None] = {} if metric is None else {metric: None}
    for trial in trials[:MOST_ROWS]:
        names |= dict.fromkeys(
            name
            for name, value in user_metrics(trial.last_result).items()
            if isinstance(value, int | float)
        )
    return list(names)[:_MOST_METRICS]


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as text in columns; the first row is the title."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_pad(row, widths) for row in rows]
    return "\n".join([lines[0], _pad(["-" * width for width in widths], widths), *lines[1:]])


def _pad(row: Sequence[str], widths: Iterable[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _show(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "item") and getattr(value, "size", 0) == 1:
        value = value.item()
    text = f"{value:.5g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
