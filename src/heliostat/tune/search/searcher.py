"""Searcher: who proposes the next configuration; random and grid search; a limit on how many at a time."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no annotations

from heliostat.tune._metrics import look_up
from heliostat.tune.search import _space
from heliostat.tune.search.randomness import RandomState, apart_from_global, as_rng
from heliostat.tune.search.sample import Domain

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


class BasicVariantGenerator(Searcher):
    """Draws every random value anew for each sample and multiplies out the grids.

    Args:
        points_to_evaluate: Configs (or parts of configs, the rest is drawn) to try first.
        max_concurrent: At most so many trials at a time; 0 for as many as fit.
        constant_grid_search: Draw the random values once per sample, not once per point of the grid.
        random_state: A seed or a numpy generator; None takes numpy's global one.

    Raises:
        ValueError: `max_concurrent` is negative.
        TypeError: `points_to_evaluate` is not a list of dicts.

    Example:
        >>> from heliostat import tune
        >>> searcher = BasicVariantGenerator(random_state=1)
        >>> searcher.set_search_properties("loss", "min", {"a": tune.grid_search([1, 2])})
        True
        >>> searcher.suggest("1"), searcher.suggest("2"), searcher.suggest("3")
        ({'a': 1}, {'a': 2}, 'FINISHED')
    """

    learns = False

    def __init__(
        self,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        max_concurrent: int = 0,
        constant_grid_search: bool = False,
        random_state: RandomState = None,
    ) -> None:
        super().__init__()
        if not isinstance(max_concurrent, int) or max_concurrent < 0:
            raise ValueError(f"max_concurrent must be a whole number >= 0, got {max_concurrent!r}")
        self.max_concurrent = max_concurrent
        self._points = as_points(points_to_evaluate)
        self._constant = constant_grid_search
        self._rng = apart_from_global() if random_state is None else as_rng(random_state)
        self._live: set[str] = set()
        self._variants: Iterator[dict[str, Any]] = iter(())
        self._total: float = 0

    def __getstate__(self) -> dict[str, Any]:
        # What comes next cannot be kept: a study begins with a space.
        return {**self.__dict__, "_variants": iter(())}

    get_state = __getstate__

    @property
    def total_samples(self) -> float:
        """How many trials there will be; infinity for `num_samples=-1`."""
        return self._total

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space."""
        super().set_search_properties(metric, mode, config, **spec)
        samples = spec.get("num_samples", 1)
        spaces = [self._with_point(config, point) for point in self._points]
        self._total = float("inf")
        if samples >= 0:
            spaces = spaces[:samples]
            fresh = samples - len(spaces)
            self._total = sum(map(_space.grid_size, spaces)) + fresh * _space.grid_size(config)
        self._variants = self._generate(spaces, config, samples)
        return True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next variant, in the one order of this seed."""
        if self.max_concurrent and len(self._live) >= self.max_concurrent:
            return None
        config = next(self._variants, None)
        if config is None:
            return Searcher.FINISHED
        self._live.add(trial_id)
        return config

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Make room for another trial."""
        self._live.discard(trial_id)

    def _generate(
        self, spaces: list[dict[str, Any]], config: Mapping[str, Any], samples: int
    ) -> Iterator[dict[str, Any]]:
        for space in spaces:
            yield from self._sample(space)
        count = len(spaces)
        while samples < 0 or count < samples:
            yield from self._sample(config)
            count += 1

    def _sample(self, space: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        return _space.variants(space, self._rng, constant_grid_search=self._constant)

    def _with_point(self, space: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
        _space.check_keys(space, point)
        merged = _space.preset(space, point)
        for path, value in _space.chosen(space, merged).items():
            domain: Any = space
            for step in path:
                domain = domain[step]
            if isinstance(domain, Domain) and value is not domain and not domain.is_valid(value):
                raise ValueError(
                    f"points_to_evaluate gives {'/'.join(map(str, path))}={value!r}, "
                    f"which is not in {domain}"
                )
        return merged


class ConcurrencyLimiter(Searcher):
    """Lets a searcher have only so many trials under way, so that it learns between proposals.

    Args:
        searcher: The searcher to limit.
        max_concurrent: At most so many trials at a time.
        batch: Propose the next ones only when all of these have ended.

    Raises:
        ValueError: `max_concurrent` is under 1.

    Example:
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
    """Refuse a mode that is neither "min" nor "max"; None is not given."""
    if mode not in (None, "min", "max"):
        raise ValueError(f'mode must be "min" or "max", got {mode!r}')


def check_single(who: str, metric: Any, mode: Any) -> None:
    """Refuse several metrics, for a searcher that optimises one; `who` is its name."""
    if isinstance(metric, list) or isinstance(mode, list):
        raise ValueError(f"{who} optimises one metric, got {metric!r}; OptunaSearch takes several")


def as_points(points: Any) -> list[dict[str, Any]]:
    """What a user wants tried first (`points_to_evaluate`), as a list of its own; None is none."""
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
