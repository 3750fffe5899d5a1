"""ResultGrid: what came out of a study, a Result for each trial."""

import importlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from heliostat.train import Result
from heliostat.tune._display import summary_rows
from heliostat.tune._metrics import flatten, look_up, rank, user_metrics
from heliostat.tune._snapshot import read_results
from heliostat.tune._trial import ERROR, TERMINATED, Trial
from heliostat.tune.search.searcher import check_mode
from heliostat.util._html import block, table

if TYPE_CHECKING:
    import pandas as pd

    from heliostat.tune._mirror import Mirror
    from heliostat.tune._plot import Run

_SCOPES = {"last": 1, "last-5-avg": 5, "last-10-avg": 10, "avg": None, "all": None}


class ResultGrid:
    """What came out of a study. `Tuner.fit()` returns it; trials stand in the order they were proposed.

    Args:
        trials: The trials.
        experiment_path: The study's directory.
        metric: The metric of `TuneConfig`.
        mode: The mode of `TuneConfig`.
        mirror: Has the study's files here, if its directory is beyond this machine.

    Example:
        >>> from heliostat import tune
        >>> grid = tune.Tuner(
        ...     lambda config: {"loss": config["x"] ** 2},
        ...     param_space={"x": tune.grid_search([-1, 0, 2])},
        ...     run_config=tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0),
        ... ).fit()
        >>> grid.get_best_result("loss", "min").config
        {'x': 0}
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        experiment_path: str,
        metric: str | None,
        mode: str | None,
        mirror: "Mirror | None" = None,
    ) -> None:
        self._trials = list(trials)
        self._path = experiment_path
        self._metric = metric
        self._mode = mode
        self._mirror = mirror

    @property
    def experiment_path(self) -> str:
        """The study's directory."""
        return self._path

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system that `experiment_path` is on."""
        there = None if self._mirror is None else self._mirror.beyond.filesystem
        return Result(None, None, None, self._path, storage_filesystem=there).filesystem

    @property
    def errors(self) -> list[Exception]:
        """Why the failed trials failed."""
        return [error for trial in self._trials if (error := _error(trial)) is not None]

    @property
    def num_errors(self) -> int:
        """How many trials failed."""
        return sum(trial.state == ERROR for trial in self._trials)

    @property
    def num_terminated(self) -> int:
        """How many trials ended well."""
        return sum(trial.state == TERMINATED for trial in self._trials)

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """The result of the best trial. Of equals it is the first.

        Args:
            metric: What to compare; `a/b` is `b` inside `a`. That of `TuneConfig` if None.
            mode: "min" or "max"; that of `TuneConfig` if None.
            scope: "last" report, best of "all", "avg" of all, "last-5-avg" or "last-10-avg".
            filter_nan_and_inf: Leave out trials whose value is NaN or infinite; else NaN is worse
                than any number.

        Returns:
            The result.

        Raises:
            ValueError: No metric or mode, or an unknown mode or scope.
            RuntimeError: No trial has such a metric; the message names those there are.

        Example:
            >>> from heliostat import tune
            >>> quiet = tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0)
            >>> space = {"x": tune.grid_search([-1, 0, 2])}
            >>> square = lambda config: {"loss": config["x"] ** 2}
            >>> grid = tune.Tuner(square, param_space=space, run_config=quiet).fit()
            >>> grid.get_best_result(metric="loss", mode="max").config
            {'x': 2}
        """
        if scope not in _SCOPES:
            raise ValueError(f"scope must be one of {', '.join(_SCOPES)}, got {scope!r}")
        if len(self._trials) == 1 and metric is None and self._metric is None:
            return self[0]
        metric, mode = self._resolve(metric, mode)
        best: tuple[tuple[int, float], Trial] | None = None
        for trial in self._trials:
            value = _value(trial, metric, mode, scope)
            key = rank(value, mode)
            if value is None or key[0] == 2 or (filter_nan_and_inf and not _finite(value)):
                continue
            if best is None or key < best[0]:
                best = key, trial
        if best is None:
            raise RuntimeError(self._no_best(metric, filter_nan_and_inf))
        return to_result(best[1])

    def _resolve(self, metric: str | None, mode: str | None) -> tuple[str, str]:
        check_mode(mode)
        metric, mode = metric or self._metric, mode or self._mode
        if metric is None:
            raise ValueError(
                "no metric: give get_best_result(metric=...) or TuneConfig(metric=...); the trials "
                f"reported: {self._known()}"
            )
        if mode is None:
            raise ValueError(
                'no mode: give get_best_result(mode="min" or "max") or TuneConfig(mode=...)'
            )
        return metric, mode

    def _no_best(self, metric: str, filter_nan_and_inf: bool) -> str:
        text = (
            f"no trial has a number for the metric {metric!r}; the trials reported: {self._known()}"
        )
        if filter_nan_and_inf:
            text += ". NaN and infinity do not count unless filter_nan_and_inf=False"
        if self.num_errors:
            text += f". {self.num_errors} of {len(self)} trials failed, see ResultGrid.errors"
        return text

    def _known(self) -> str:
        known = sorted({name for trial in self._trials for name in user_metrics(trial.last_result)})
        return ", ".join(map(repr, known)) or "nothing"

    def get_dataframe(
        self, filter_metric: str | None = None, filter_mode: str | None = None
    ) -> "pd.DataFrame":
        """A row for each trial: its last report, its directory and its config as `config/...`.

        Args:
            filter_metric: Take the report in which this metric is best instead of the last.
            filter_mode: "min" or "max", with `filter_metric`.

        Returns:
            The frame.

        Raises:
            ValueError: Only one of the two is given.

        Example:
            >>> from heliostat import tune
            >>> grid = tune.Tuner(
            ...     lambda config: {"loss": 1.0},
            ...     run_config=tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0),
            ... ).fit()
            >>> float(grid.get_dataframe()["loss"][0])
            1.0
        """
        import pandas as pd  # noqa: PLC0415 - optional and slow to load

        check_mode(filter_mode)
        if (filter_metric is None) != (filter_mode is None):
            raise ValueError("filter_metric and filter_mode go together; give both or none")
        rows = []
        for trial in self._trials:
            result = trial.last_result
            if filter_metric is not None and filter_mode is not None:
                reports = [
                    r for r in read_results(trial.path) if look_up(r, filter_metric) is not None
                ]
                best = _best(reports, filter_metric, filter_mode)
                result = best or result
            flat = flatten({key: value for key, value in result.items() if key != "config"})
            config = flatten(trial.config, "config/")
            rows.append({**flat, "trial_id": trial.trial_id, **config, "logdir": trial.path})
        return pd.DataFrame(rows)

    def plot_progress(
        self,
        path: str | os.PathLike[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> str:
        """Draw the value of each trial, and the best so far.

        Args:
            path: The file, an SVG; `progress.svg` in the study's directory if None.
            metric: What to draw; that of `TuneConfig` if None.
            mode: "min" or "max"; that of `TuneConfig` if None.

        Returns:
            The path of the file.

        Raises:
            ValueError: No metric or mode, or a file that is no SVG.
            RuntimeError: No trial has a number for the metric.

        Example:
            >>> from heliostat import tune
            >>> quiet = tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0)
            >>> space = {"x": tune.grid_search([-1, 0, 2])}
            >>> square = lambda config: {"loss": config["x"] ** 2}
            >>> grid = tune.Tuner(square, param_space=space, run_config=quiet).fit()
            >>> grid.plot_progress("/tmp/heliostat-docs/progress.svg", "loss", "min")
            '/tmp/heliostat-docs/progress.svg'
        """
        metric, mode = self._resolve(metric, mode)
        drawn = _plots().progress(self._runs(metric), metric, mode)
        return self._draw(path, "progress.svg", drawn)

    def plot_parallel_coordinates(
        self,
        path: str | os.PathLike[str] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> str:
        """Draw a line for each trial through its parameters to its value.

        Args:
            path: The file, an SVG; `parallel_coordinates.svg` in the study's directory if None.
            metric: What to draw; that of `TuneConfig` if None.
            mode: "min" or "max"; that of `TuneConfig` if None.

        Returns:
            The path of the file.

        Raises:
            ValueError: No metric or mode, or a file that is no SVG.
            RuntimeError: No trial has a number for the metric.

        Example:
            >>> from heliostat import tune
            >>> quiet = tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0)
            >>> space = {"x": tune.grid_search([-1, 0, 2])}
            >>> square = lambda config: {"loss": config["x"] ** 2}
            >>> grid = tune.Tuner(square, param_space=space, run_config=quiet).fit()
            >>> grid.plot_parallel_coordinates("/tmp/heliostat-docs/lines.svg", "loss", "min")
            '/tmp/heliostat-docs/lines.svg'
        """
        metric, mode = self._resolve(metric, mode)
        drawn = _plots().parallel_coordinates(self._runs(metric), metric, mode)
        return self._draw(path, "parallel_coordinates.svg", drawn)

    def plot_importance(
        self, path: str | os.PathLike[str] | None = None, metric: str | None = None
    ) -> str:
        """Draw how much of the differences between trials each parameter explains alone.

        Args:
            path: The file, an SVG; `importance.svg` in the study's directory if None.
            metric: What differs; that of `TuneConfig` if None.

        Returns:
            The path of the file.

        Raises:
            ValueError: No metric, or a file that is no SVG.
            RuntimeError: No trial has a number for the metric.

        Example:
            >>> from heliostat import tune
            >>> quiet = tune.RunConfig(storage_path="/tmp/heliostat-docs", verbose=0)
            >>> space = {"x": tune.grid_search([-1, 0, 2])}
            >>> square = lambda config: {"loss": config["x"] ** 2}
            >>> grid = tune.Tuner(square, param_space=space, run_config=quiet).fit()
            >>> grid.plot_importance("/tmp/heliostat-docs/importance.svg", "loss")
            '/tmp/heliostat-docs/importance.svg'
        """
        metric, _ = self._resolve(metric, "min")
        drawn = _plots().importance(self._runs(metric), metric)
        return self._draw(path, "importance.svg", drawn)

    def _runs(self, metric: str) -> "list[Run]":
        """The trials that have a number for a metric."""
        runs = []
        for trial in self._trials:
            value = look_up(trial.last_result, metric)
            if rank(value, "min")[0] == 0 and _finite(value):
                runs.append(_plots().Run(flatten(trial.config), float(value)))
        if not runs:
            raise RuntimeError(self._no_best(metric, filter_nan_and_inf=True))
        return runs

    def _draw(self, path: str | os.PathLike[str] | None, name: str, drawn: str) -> str:
        if path is None and self._mirror is not None:
            raise ValueError(f"the study is not on this machine; say where {name} is to be written")
        target = os.path.join(self._path, name) if path is None else os.fspath(path)
        if not target.endswith(".svg"):
            raise ValueError(f"plots are SVG files; give a path that ends in .svg, not {target!r}")
        with open(target, "w", encoding="utf-8") as file:
            file.write(drawn)
        return target

    def __len__(self) -> int:
        return len(self._trials)

    def __getitem__(self, index: int) -> Result:
        return to_result(self._trials[index])

    def __iter__(self) -> Iterator[Result]:
        return map(to_result, self._trials)

    def __repr__(self) -> str:
        lines = "".join(
            f"\n  {trial} {trial.status} {user_metrics(trial.last_result)}"
            for trial in self._trials
        )
        return f"ResultGrid({self._path!r}, {len(self)} trials:{lines})"

    def _repr_html_(self) -> str:
        """The table of trials, for a notebook."""
        names = dict.fromkeys(name for trial in self._trials for name in flatten(trial.config))
        parameters = {tuple(name.split("/")): name for name in names}
        head, cells = summary_rows(self._trials, parameters, self._metric, self._mode or "min")
        return block(head) + table(cells) + block(self._path)


def to_result(trial: Trial) -> Result:
    """A trial as users see it."""
    # What somebody has removed is not kept.
    kept = [
        (checkpoint, metrics)
        for path, metrics in trial.checkpoints
        if (checkpoint := trial.at(path)).exists()
    ]
    metrics = {**trial.last_result, "config": trial.config} if trial.last_result else None
    return Result(
        metrics=metrics,
        checkpoint=trial.checkpoint,
        error=_error(trial),
        path=trial.stored,
        best_checkpoints=kept,
        config=trial.config,
        history=read_results(trial.path),
        storage_filesystem=None if trial.beyond is None else trial.beyond.filesystem,
    )


def _error(trial: Trial) -> Exception | None:
    if trial.state != ERROR:
        return None
    assert isinstance(trial.error, Exception)
    return trial.error


def _value(trial: Trial, metric: str, mode: str, scope: str) -> Any:
    if scope == "last":
        return look_up(trial.last_result, metric)
    values = [look_up(result, metric) for result in read_results(trial.path)]
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        return None
    if scope == "all":
        return min(numbers, key=lambda value: rank(value, mode))
    recent = numbers[-(_SCOPES[scope] or 0) :]
    return sum(recent) / len(recent)


def _best(reports: list[dict[str, Any]], metric: str, mode: str) -> dict[str, Any] | None:
    return min(reports, key=lambda report: rank(look_up(report, metric), mode), default=None)


def _plots() -> Any:
    """What draws; few studies are drawn, so it is loaded for those that are."""
    return importlib.import_module("heliostat.tune._plot")


def _finite(value: Any) -> bool:
    return math.isfinite(float(value))
