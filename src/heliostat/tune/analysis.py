"""ExperimentAnalysis: a study's results by the names of Ray's older interface."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliostat.train import Checkpoint
from heliostat.tune import _restore, _written
from heliostat.tune._beyond import find
from heliostat.tune._metrics import flatten, look_up, rank
from heliostat.tune._snapshot import newest_log, read_results
from heliostat.tune._trial import Trial
from heliostat.tune.result_grid import ResultGrid
from heliostat.tune.search.searcher import check_mode

if TYPE_CHECKING:
    import pandas as pd


class ExperimentAnalysis:
    """Looks into a study: `tune.run` returns it, or give it the study's directory.

    The study may be one that Ray Tune has written: its plain files are read.

    Args:
        experiment_checkpoint_path: The study's directory, or a file in it.
        storage_filesystem: None, or a local one; a study beyond this machine is read by
            `Tuner.restore(path, trainable).get_results()`.
        trials: The trials, if they are at hand.
        default_metric: What to compare by where no other is named.
        default_mode: "min" or "max".

    Raises:
        ValueError: There is no study, or an unknown mode.

    Example:
        >>> from heliostat import tune
        >>> analysis = tune.run(
        ...     lambda config: {"loss": config["x"] ** 2},
        ...     config={"x": tune.grid_search([-1, 0, 2])},
        ...     storage_path="/tmp/heliostat-docs", verbose=0, metric="loss", mode="min",
        ... )
        >>> analysis.best_config
        {'x': 0}
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str],
        *,
        storage_filesystem: Any = None,
        trials: Sequence[Trial] | None = None,
        default_metric: str | None = None,
        default_mode: str | None = None,
    ) -> None:
        check_mode(default_mode)
        path = Path(experiment_checkpoint_path).expanduser()
        directory = path.parent if path.is_file() else path
        self.experiment_path = str(directory)
        self.default_metric = default_metric
        self.default_mode = default_mode
        if trials is None:
            if find("ExperimentAnalysis", experiment_checkpoint_path, storage_filesystem)[1]:
                raise NotImplementedError(
                    f"{os.fspath(experiment_checkpoint_path)!r} is not on this machine; read it by "
                    "Tuner.restore(path, trainable).get_results()"
                )
            trials = _trials_in(directory)
        self.trials = list(trials)
        self._trials = self.trials
        self._grid = ResultGrid(self.trials, self.experiment_path, default_metric, default_mode)

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial | None:
        """The best trial.

        Args:
            metric: What to compare; the default if None.
            mode: "min" or "max"; the default if None.
            scope: "last" report, best of "all", "avg" of all, "last-5-avg" or "last-10-avg".
            filter_nan_and_inf: Leave out trials whose value is NaN or infinite.

        Returns:
            The trial; None if none has the metric.

        Raises:
            ValueError: No metric or mode, or an unknown scope.
        """
        if len(self.trials) == 1 and metric is None and self.default_metric is None:
            return self.trials[0]
        try:
            best = self._grid.get_best_result(metric, mode, scope, filter_nan_and_inf)
        except RuntimeError:
            return None
        return next(trial for trial in self.trials if trial.stored == best.path)

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """The configuration of the best trial; None if none has the metric."""
        best = self.get_best_trial(metric, mode, scope)
        return None if best is None else best.config

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """The checkpoint of a trial whose report was best.

        Args:
            trial: The trial.
            metric: What to compare; the default if None.
            mode: "min" or "max"; the default if None.

        Returns:
            The checkpoint; None if the trial has none.

        Raises:
            ValueError: No metric or mode.
        """
        name, how = metric or self.default_metric, mode or self.default_mode
        if name is None or how is None:
            raise ValueError("no metric or mode: give both, or default_metric and default_mode")
        check_mode(how)
        best = min(
            trial.checkpoints, key=lambda kept: rank(look_up(kept[1], name), how), default=None
        )
        return None if best is None else trial.at(best[0])

    def get_last_checkpoint(
        self, trial: Trial | None = None, metric: str = "training_iteration", mode: str = "max"
    ) -> Checkpoint | None:
        """The last checkpoint of a trial, or of the trial that came furthest.

        Args:
            trial: The trial; that with the best of `metric` if None.
            metric: What "furthest" means.
            mode: "min" or "max".

        Returns:
            The checkpoint; None if there is none.
        """
        chosen = trial or self.get_best_trial(metric, mode)
        return None if chosen is None else chosen.checkpoint

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """The configuration of each trial, by its directory.

        Args:
            prefix: Put `config/` before each key.

        Returns:
            The configurations.
        """
        return {
            trial.path: flatten(trial.config, "config/") if prefix else trial.config
            for trial in self.trials
        }

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> "pd.DataFrame":
        """A row for each trial: its last report, or that in which a metric is best."""
        return self._grid.get_dataframe(metric, mode)

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The last report of each trial, by its id."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> "pd.DataFrame":
        """The last report of each trial; the index is `trial_id`."""
        return self._grid.get_dataframe().set_index("trial_id")

    @property
    def trial_dataframes(self) -> "dict[str, pd.DataFrame]":
        """All reports of each trial, by its id."""
        import pandas as pd  # noqa: PLC0415 - optional and slow to load

        return {t.trial_id: pd.DataFrame(map(flatten, read_results(t.path))) for t in self.trials}

    @property
    def best_trial(self) -> Trial:
        """The best trial by the default metric and mode.

        Raises:
            ValueError: There is no default, or no trial has it.
        """
        best = self.get_best_trial()
        if best is None:
            raise ValueError(f"no trial has a number for the metric {self.default_metric!r}")
        return best

    @property
    def best_config(self) -> dict[str, Any]:
        """The configuration of the best trial."""
        return self.best_trial.config

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The best checkpoint of the best trial."""
        return self.get_best_checkpoint(self.best_trial)

    @property
    def best_result(self) -> dict[str, Any]:
        """The last report of the best trial."""
        return self.best_trial.last_result

    @property
    def best_result_df(self) -> "pd.DataFrame":
        """The last report of the best trial as a frame of one row."""
        return self.results_df.loc[[self.best_trial.trial_id]]

    @property
    def best_dataframe(self) -> "pd.DataFrame":
        """All reports of the best trial."""
        return self.trial_dataframes[self.best_trial.trial_id]

    @property
    def best_logdir(self) -> str:
        """The directory of the best trial."""
        return self.best_trial.path


def _trials_in(directory: Path) -> Sequence[Trial]:
    log = newest_log(directory)
    if log is not None:
        read = _restore.read(log, unfinished="skip", errored="skip")
        return read.trials(directory, directory.name)
    written = _written.trials_in(directory)
    if written is None:
        raise ValueError(f"there is no study in {directory}")
    return written
