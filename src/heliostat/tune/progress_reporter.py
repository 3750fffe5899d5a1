"""Progress reporters: tables of a study while it runs, in a terminal or a notebook; or lines.

`RunConfig(progress_reporter=)` takes one; in a notebook there is one without asking. They see the
trials and nothing else of the study.
"""

import enum
import importlib
import sys
import time
from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

from heliostat.tune._display import align, infer_metrics, parameter_columns, rows, show
from heliostat.tune._metrics import look_up, rank, user_metrics
from heliostat.tune._trial import ERROR, Trial
from heliostat.tune.callback import Callback
from heliostat.util._html import block, table

__all__ = [
    "CLIReporter",
    "JupyterNotebookReporter",
    "ProgressReporter",
    "TrialProgressCallback",
    "Verbosity",
]

_MOST_METRICS = 4

Columns = Sequence[str] | Mapping[str, str] | None


class ProgressReporter:
    """Shows people how a study goes; subclass it for your own way.

    Example:
        >>> class Count(ProgressReporter):
        ...     def should_report(self, trials, done=False):
        ...         return done
        ...     def report(self, trials, done, *sys_info):
        ...         print(f"{len(trials)} trials")
        >>> Count().report([], True)
        0 trials
    """

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """The study begins.

        Args:
            start_time: When, in seconds since 1970.
            total_samples: How many trials there will be, if that is known.
            metric: The metric of `TuneConfig`.
            mode: The mode of `TuneConfig`.
            kwargs: More about the study: `param_space`.
        """

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """Say whether `report` shall be called now; asked each time something has happened.

        Args:
            trials: All so far.
            done: Whether the study is over.
        """
        raise NotImplementedError(f"{type(self).__name__} must override should_report()")

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Show the study.

        Args:
            trials: All so far.
            done: Whether the study is over.
            sys_info: Lines to show with it.
        """
        raise NotImplementedError(f"{type(self).__name__} must override report()")


class _TableReporter(ProgressReporter):
    """What both kinds of tables have in common: what is in them."""

    def __init__(
        self,
        *,
        metric_columns: Columns = None,
        parameter_columns: Columns = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: int = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        if mode not in (None, "min", "max"):
            raise ValueError(f'mode must be "min" or "max", got {mode!r}')
        self._metric_columns = _titles(metric_columns)
        self._parameter_columns = _titles(parameter_columns)
        self._total = total_samples
        self._most_rows = max_progress_rows
        self._most_errors = max_error_rows
        self._widest = max_column_length
        self._every_s = max_report_frequency
        self._infer_limit = infer_limit
        self._intermediate = print_intermediate_tables is not False
        self._metric, self._mode = metric, mode
        self._sorts = sort_by_metric
        self._space: Mapping[str, Any] = {}
        self._started = self._last = time.time()

    def setup(
        self,
        start_time: float | None = None,
        total_samples: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Hear what the study is about; what was given to the reporter itself counts first."""
        self._started = self._last = time.time() if start_time is None else start_time
        self._total = self._total or total_samples
        self._metric, self._mode = self._metric or metric, self._mode or mode
        self._space = kwargs.get("param_space", {})

    def add_metric_column(self, metric: str, representation: str | None = None) -> None:
        """Show a metric, too.

        Args:
            metric: Its name.
            representation: The title of its column; the name if None.
        """
        self._metric_columns = {**(self._metric_columns or {}), metric: representation or metric}

    def add_parameter_column(self, parameter: str, representation: str | None = None) -> None:
        """Show a parameter, too.

        Args:
            parameter: Its name in the config; `a/b` is `b` inside `a`.
            representation: The title of its column; the name if None.
        """
        title = representation or parameter
        self._parameter_columns = {**(self._parameter_columns or {}), parameter: title}

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        """At most every `max_report_frequency` seconds, and at the end."""
        now = time.time()
        if not done and now - self._last < self._every_s:
            return False
        self._last = now
        return True

    def _head(self, trials: list[Trial], sys_info: Sequence[str]) -> list[str]:
        now = time.time() - self._started
        counts: dict[str, int] = {}
        for trial in trials:
            counts[trial.status.lower()] = counts.get(trial.status.lower(), 0) + 1
        ended = sum(trial.is_finished() for trial in trials)
        of = f" of {self._total:g}" if self._total and self._total != float("inf") else ""
        parts = [f"{len(trials)}{of} trials", *(f"{n} {state}" for state, n in counts.items())]
        parts.append(f"{now:.1f} s")
        if of and self._total and 0 < ended < self._total:
            parts.append(f"about {now * (self._total - ended) / ended:.0f} s left")
        lines = [", ".join(parts), *sys_info]
        best = self._best(trials)
        if best is not None:
            value = show(look_up(best.last_result, self._metric or ""))
            lines.append(f"Best so far: {best} with {self._metric}={value} and {best.config}")
        return lines

    def _best(self, trials: list[Trial]) -> Trial | None:
        if self._metric is None:
            return None
        best = min(trials, key=self._rank, default=None)
        return best if best is not None and self._rank(best)[0] == 0 else None

    def _rank(self, trial: Trial) -> tuple[int, float]:
        return rank(look_up(trial.last_result, self._metric or ""), self._mode or "max")

    def _table(self, trials: list[Trial]) -> tuple[list[list[str]], int]:
        """The rows of the trials that are shown, below their titles; and how many are not."""
        shown = list(trials)
        if self._sorts and self._metric is not None:
            shown.sort(key=self._rank)
        else:
            shown.sort(key=Trial.is_finished)  # those that run first, else in their order
        shown = shown[: self._most_rows]
        metrics = self._metric_columns
        if metrics is None:
            first = [] if self._metric is None else [self._metric]
            names = [*first, *infer_metrics(trials, self._infer_limit)]
            metrics = {name: name for name in names}
        columns: dict[Any, str] = {("metric", name): title for name, title in metrics.items()}
        if self._parameter_columns is None:
            columns |= parameter_columns(self._space)
        else:
            columns |= {
                tuple(name.split("/")): title for name, title in self._parameter_columns.items()
            }
        return rows(shown, columns, self._widest), len(trials) - len(shown)

    def _errors(self, trials: list[Trial]) -> list[list[str]]:
        """A row for each failed trial, below the titles."""
        failed = [trial for trial in trials if trial.state == ERROR][: self._most_errors]
        table = [["failed trial", "failures", "error file"]]
        table += [[str(t), str(t.num_failures), f"{t.path}/error.txt"] for t in failed]
        return table


class CLIReporter(_TableReporter):
    """Prints tables of trials to the terminal, every few seconds and at the end.

    Args:
        metric_columns: Metrics to show: names, or names with titles; those that trials report if None.
        parameter_columns: Parameters to show, likewise; those that the space leaves open if None.
        total_samples: How many trials there will be, if the study does not know.
        max_progress_rows: At most so many trials.
        max_error_rows: At most so many failed trials.
        max_column_length: Longer values are cut.
        max_report_frequency: At most every so many seconds.
        infer_limit: How many metrics, if they are not named.
        print_intermediate_tables: False shows tables at the end only, and counts meanwhile.
        metric: The metric of the best trial; that of `TuneConfig` if None.
        mode: "min" or "max"; that of `TuneConfig` if None.
        sort_by_metric: The best trials first, instead of those that run.

    Raises:
        ValueError: Another mode.

    Example:
        >>> reporter = CLIReporter(metric_columns=["loss"])
        >>> reporter.add_metric_column("acc", "accuracy")
        >>> reporter.report([], True)  # doctest: +ELLIPSIS
        0 trials, ... s
        trial  status  iter  time (s)  loss  accuracy
        -----  ------  ----  --------  ----  --------
    """

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Print the tables."""
        lines = self._head(trials, sys_info)
        if done or self._intermediate:
            table, hidden = self._table(trials)
            lines.append(align(table))
            if hidden:
                lines.append(f"... and {hidden} more")
            errors = self._errors(trials)
            if len(errors) > 1:
                lines.append(align(errors))
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


class JupyterNotebookReporter(_TableReporter):
    """Shows tables of trials below the cell of a notebook. A study in a notebook has one of its own.

    Args:
        overwrite: Show the newest tables in place of those before.
        options: What `CLIReporter` takes.

    Raises:
        ImportError: There is no IPython.
        ValueError: A mode that is none.
    """

    def __init__(
        self,
        *,
        overwrite: bool = True,
        metric_columns: Columns = None,
        parameter_columns: Columns = None,
        total_samples: int | None = None,
        max_progress_rows: int = 20,
        max_error_rows: int = 20,
        max_column_length: int = 20,
        max_report_frequency: int = 5,
        infer_limit: int = 3,
        print_intermediate_tables: bool | None = None,
        metric: str | None = None,
        mode: str | None = None,
        sort_by_metric: bool = False,
    ) -> None:
        super().__init__(
            metric_columns=metric_columns,
            parameter_columns=parameter_columns,
            total_samples=total_samples,
            max_progress_rows=max_progress_rows,
            max_error_rows=max_error_rows,
            max_column_length=max_column_length,
            max_report_frequency=max_report_frequency,
            infer_limit=infer_limit,
            print_intermediate_tables=print_intermediate_tables,
            metric=metric,
            mode=mode,
            sort_by_metric=sort_by_metric,
        )
        self._overwrite = overwrite
        self._shown: Any = None  # what displays the newest tables; prints around it stay
        try:
            self._screen: Any = importlib.import_module("IPython.display")
        except ImportError as error:
            raise ImportError(
                "JupyterNotebookReporter needs IPython; run it in a notebook, or take a CLIReporter"
            ) from error

    def setup(self, *args: Any, **kwargs: Any) -> None:
        """A study begins, below what there is."""
        super().setup(*args, **kwargs)
        self._shown = None

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Show the tables."""
        lines = self._head(trials, sys_info)
        tables = []
        if done or self._intermediate:
            trials_table, hidden = self._table(trials)
            tables.append(trials_table)
            if hidden:
                lines.append(f"{len(trials_table) - 1} trials are shown, {hidden} more are not")
            errors = self._errors(trials)
            if len(errors) > 1:
                tables.append(errors)
        head = "\n".join(lines)
        page = {
            "text/plain": "\n".join([head, *map(align, tables)]),
            "text/html": block(head) + "".join(map(table, tables)),
        }
        if self._shown is None or not self._overwrite:
            self._shown = self._screen.display(page, raw=True, display_id=True)
        else:
            self._shown.update(page, raw=True)


class Verbosity(enum.IntEnum):
    """How much a study says: names for the numbers that `RunConfig(verbose=)` takes.

    Example:
        >>> from heliostat import tune
        >>> tune.RunConfig(verbose=Verbosity.V0_MINIMAL).verbose == 0
        True
    """

    V0_MINIMAL = 0  # nothing
    V1_EXPERIMENT = 1  # the study as a whole
    V2_TRIAL_NORM = 2  # a line for each report, with the metrics that count
    V3_TRIAL_DETAILS = 3  # with all that was reported


class TrialProgressCallback(Callback):
    """Prints a line when a trial starts, reports, fails or ends; `verbose=2` of `RunConfig` has one.

    Args:
        metric: The metric that comes first.
        progress_metrics: The only ones to show; the numbers that a trial reports if None.

    Example:
        >>> TrialProgressCallback(progress_metrics=["loss"]).words({"loss": 0.25, "lr": 1})
        'loss=0.25'
    """

    def __init__(
        self, metric: str | None = None, progress_metrics: Sequence[str] | None = None
    ) -> None:
        self._metric = metric
        self._only = progress_metrics
        self._most: int | None = _MOST_METRICS

    @classmethod
    def of(cls, verbose: int | None, metric: str | None) -> "TrialProgressCallback":
        """What `RunConfig(verbose=)` asks for: some metrics a line, or all."""
        made = cls(metric)
        if verbose == Verbosity.V3_TRIAL_DETAILS:
            made._most = None
        return made

    def words(self, result: Mapping[str, Any]) -> str:
        """The metrics of a report in a line."""
        mine = user_metrics(result)
        names = (
            self._only
            or [
                *([self._metric] if self._metric in mine else []),
                *(name for name in mine if name != self._metric and isinstance(mine[name], Number)),
            ][: self._most]
        )
        return ", ".join(f"{name}={show(look_up(result, name))}" for name in names)

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Print its configuration."""
        _print(f"{trial} starts with {trial.config}")

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Print what it reported."""
        number, seconds = result.get("training_iteration"), result.get("time_total_s", 0.0)
        _print(f"{trial} iteration {number} after {seconds:.1f} s: {self.words(result)}")

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Print where its traceback is."""
        _print(f"{trial} failed {trial.num_failures} times, see {trial.path}/error.txt")

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Print its last metrics."""
        _print(f"{trial} has ended: {self.words(trial.last_result)}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _titles(columns: Columns) -> dict[str, str] | None:
    if columns is None:
        return None
    return dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
