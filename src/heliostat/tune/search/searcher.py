"""Searcher: who proposes the next configuration, and a limit on how many at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no annotations

from heliostat.tune._metrics import look_up

_STATE_FILE = "searcher-{session}.pkl"


class Searcher:
    """Proposes configurations one at a time; subclass it to search in your own way.

    Args:
        metric: The metric to optimise, or a list of them; usually left to `TuneConfig`.
        mode: "min" or "max", or a list with one for each metric; usually left to `TuneConfig`.

    Raises:
        ValueError: `mode` is neither, or not as many modes as metrics.

    Example:
        >>> class Twice(Searcher):
        ...     def suggest(self, trial_id):
        ...         return {"x": 2}
        >>> Twice().suggest("1")
        {'x': 2}
    """

    FINISHED = "FINISHED"

    # Whether results may change what it proposes; if not, trials may be made before there is room.
    learns = True

    def __init__(
        self, metric: str | list[str] | None = None, mode: str | list[str] | None = None
    ) -> None:
        for one in as_list(mode):
            check_mode(one)
        if metric is not None and mode is not None and len(as_list(metric)) != len(as_list(mode)):
            raise ValueError(
                f"metric and mode must be as many, got metric={metric!r} and mode={mode!r}"
            )
        self._metric = metric
        self._mode = mode

    @property
    def metric(self) -> str | list[str] | None:
        """The metric to optimise."""
        return self._metric

    @property
    def mode(self) -> str | list[str] | None:
        """Which direction is better, "min" or "max"."""
        return self._mode

    @property
    def total_samples(self) -> float | None:
        """How many trials there will be, when the searcher itself knows; else `num_samples` counts."""
        return None

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Hear what the study is about, before the first `suggest`.

        Args:
            metric: The metric of `TuneConfig`.
            mode: The mode of `TuneConfig`.
            config: The `param_space`.
            spec: More about the study: `num_samples`.

        Returns:
            Whether the space in `config` was taken over. A searcher with a space of its own says False.
        """
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Propose the config of a new trial.

        Args:
            trial_id: The id the trial will have.

        Returns:
            A config; None to be asked again after the next event; `Searcher.FINISHED` for no more.
        """
        raise NotImplementedError

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Hear a report of a running trial."""

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Hear the end of a trial.

        Args:
            trial_id: The trial.
            result: Its last report; None when it made none.
            error: Whether it failed.
        """

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Any = None,
    ) -> None:
        """Hear of a configuration whose value is known.

        Args:
            parameters: The configuration.
            value: Its metric.
            error: Whether it failed.
            pruned: Whether it was cut short.
            intermediate_values: What it reported on its way.

        Raises:
            NotImplementedError: This searcher cannot learn from it.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot learn from configurations of others"
        )

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Hear of the trials of another study.

        Args:
            trials_or_analysis: A ResultGrid, an ExperimentAnalysis, a trial or a list of trials.
            metric: The metric that counts.

        Raises:
            NotImplementedError: This searcher cannot learn from them.
        """
        trials = getattr(trials_or_analysis, "_trials", trials_or_analysis)
        for trial in trials if isinstance(trials, list) else [trials]:
            value = look_up(trial.last_result, metric)
            if value is not None:
                self.add_evaluated_point(trial.config, value, error=trial.error is not None)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Hear how many trials there may be at a time.

        Returns:
            Whether it sees to that itself.
        """
        return False

    def get_state(self) -> dict[str, Any]:
        """All it knows, as a dict."""
        return self.__dict__.copy()

    def set_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` gave."""
        self.__dict__.update(state)

    def save(self, checkpoint_path: str) -> None:
        """Write all it knows into a file."""
        Path(checkpoint_path).write_bytes(cloudpickle.dumps(self.get_state()))

    def restore(self, checkpoint_path: str) -> None:
        """Read what `save` wrote. Only from a file that you trust."""
        self.set_state(cloudpickle.loads(Path(checkpoint_path).read_bytes()))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write all it knows into a directory."""
        self.save(str(Path(checkpoint_dir, _STATE_FILE.format(session=session_str))))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Read what `save_to_dir` wrote last. Only from a directory that you trust.

        Raises:
            FileNotFoundError: There is nothing.
        """
        found = sorted(
            Path(checkpoint_dir).glob(_STATE_FILE.format(session="*")),
            key=lambda path: path.stat().st_mtime_ns,
        )
        if not found:
            raise FileNotFoundError(f"no searcher was saved in {checkpoint_dir!r}")
        self.restore(str(found[-1]))


class ConcurrencyLimiter(Searcher):
    """Lets a searcher have only so many trials under way, so that it learns between proposals.

    Args:
        searcher: The searcher to limit.
        max_concurrent: At most so many trials at a time.
        batch: Propose the next ones only when all of these have ended.

    Raises:
        ValueError: `max_concurrent` is under 1.

    Example:
        >>> from heliostat.tune.search.basic_variant import BasicVariantGenerator
        >>> limited = ConcurrencyLimiter(BasicVariantGenerator(), max_concurrent=2)
        >>> limited.max_concurrent
        2
    """

    def __init__(self, searcher: Searcher, max_concurrent: int, batch: bool = False) -> None:
        if not isinstance(max_concurrent, int) or max_concurrent < 1:
            raise ValueError(f"max_concurrent must be a whole number >= 1, got {max_concurrent!r}")
        super().__init__(searcher.metric, searcher.mode)
        self.searcher = searcher
        self.max_concurrent = max_concurrent
        self.batch = batch
        self._live: set[str] = set()
        self._ended: dict[str, tuple[Mapping[str, Any] | None, bool]] = {}

    @property
    def total_samples(self) -> float | None:
        """What the searcher inside says."""
        return self.searcher.total_samples

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Tell the searcher inside what the study is about."""
        super().set_search_properties(metric, mode, config, **spec)
        return self.searcher.set_search_properties(metric, mode, config, **spec)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ask the searcher inside, or None while enough trials are under way."""
        if len(self._live) >= self.max_concurrent:
            return None
        suggestion = self.searcher.suggest(trial_id)
        if isinstance(suggestion, dict):
            self._live.add(trial_id)
        return suggestion

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial on; with `batch`, when all of the batch have ended."""
        if trial_id not in self._live:
            return
        self._ended[trial_id] = (result, error)
        if self.batch and len(self._ended) < len(self._live):
            return
        for ended, (last, failed) in self._ended.items():
            self.searcher.on_trial_complete(ended, last, failed)
            self._live.discard(ended)
        self._ended.clear()


def check_mode(mode: str | None) -> None:
    """Refuse a mode that is neither "min" nor "max".

    Args:
        mode: The mode, or None for not given.

    Raises:
        ValueError: It is something else.

    Example:
        >>> check_mode("max")
    """
    if mode not in (None, "min", "max"):
        raise ValueError(f'mode must be "min" or "max", got {mode!r}')


def check_single(who: str, metric: Any, mode: Any) -> None:
    """Refuse several metrics, for a searcher that optimises one.

    Args:
        who: The searcher, for the message.
        metric: The metric or metrics.
        mode: The mode or modes.

    Raises:
        ValueError: There are several.

    Example:
        >>> check_single("MySearch", "loss", "min")
    """
    if isinstance(metric, list) or isinstance(mode, list):
        raise ValueError(f"{who} optimises one metric, got {metric!r}; OptunaSearch takes several")


def as_points(points: Any) -> list[dict[str, Any]]:
    """What a user wants tried first, as a list of its own.

    Args:
        points: `points_to_evaluate`; None is none.

    Raises:
        TypeError: It is not a list of dicts.

    Example:
        >>> as_points([{"x": 1}]), as_points(None)
        ([{'x': 1}], [])
    """
    if points is None:
        return []
    if not isinstance(points, list | tuple) or not all(isinstance(p, Mapping) for p in points):
        raise TypeError(
            f"points_to_evaluate must be a list of configs, each a dict, got {points!r}"
        )
    return [dict(point) for point in points]


def as_list(value: Any) -> list[Any]:
    """One or several, as several; None is none.

    Example:
        >>> as_list("loss"), as_list(["a", "b"]), as_list(None)
        (['loss'], ['a', 'b'], [])
    """
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
