"""Searcher: who proposes the next configuration, and a limit on how many at a time."""

from collections.abc import Mapping
from typing import Any


class Searcher:
    """Proposes configurations one at a time; subclass it to search in your own way.

    Args:
        metric: The metric to optimise; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.

    Raises:
        ValueError: `mode` is neither.

    Example:
        >>> class Twice(Searcher):
        ...     def suggest(self, trial_id):
        ...         return {"x": 2}
        >>> Twice().suggest("1")
        {'x': 2}
    """

    FINISHED = "FINISHED"

    def __init__(self, metric: str | None = None, mode: str | None = None) -> None:
        check_mode(mode)
        self._metric = metric
        self._mode = mode

    @property
    def metric(self) -> str | None:
        """The metric to optimise."""
        return self._metric

    @property
    def mode(self) -> str | None:
        """Which direction is better, "min" or "max"."""
        return self._mode

    @property
    def total_samples(self) -> float | None:
        """How many trials there will be, when the searcher itself knows; else `num_samples` counts."""
        return None

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
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
        if not max_concurrent >= 1:
            raise ValueError(f"max_concurrent must be >= 1, got {max_concurrent!r}")
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
        self, metric: str | None, mode: str | None, config: Mapping[str, Any], **spec: Any
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
