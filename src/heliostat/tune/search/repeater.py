"""Repeater: the same configuration several times; the searcher inside hears the mean."""

import statistics
from collections.abc import Mapping
from typing import Any

from heliostat.tune._metrics import look_up
from heliostat.tune.search._space import copy_containers
from heliostat.tune.search.searcher import Searcher, check_single

TRIAL_INDEX = "__trial_index__"


class Repeater(Searcher):
    """Tries each configuration several times, for trials that depend on chance.

    Args:
        searcher: Who proposes.
        repeat: How often each is tried.
        set_index: Put the number of the repetition into the config, as `__trial_index__`.

    Raises:
        ValueError: `repeat` is under 1.

    Example:
        >>> from heliostat.tune.search import BasicVariantGenerator
        >>> twice = Repeater(BasicVariantGenerator(), repeat=2)
        >>> twice.set_search_properties("loss", "min", {"x": 1}, num_samples=1)
        False
        >>> twice.suggest("1"), twice.suggest("2")
        ({'x': 1, '__trial_index__': 0}, {'x': 1, '__trial_index__': 1})
    """

    def __init__(self, searcher: Searcher, repeat: int = 1, set_index: bool = True) -> None:
        if not isinstance(repeat, int) or repeat < 1:
            raise ValueError(f"repeat must be a whole number >= 1, got {repeat!r}")
        super().__init__(searcher.metric, searcher.mode)
        self.searcher = searcher
        self.repeat = repeat
        self._set_index = set_index
        # The first trial of a group stands for it before the searcher inside.
        self._first: str | None = None
        self._config: dict[str, Any] = {}
        self._made = 0
        self._group: dict[str, str] = {}
        self._values: dict[str, list[float]] = {}
        self._ended: dict[str, int] = {}
        self._last: dict[str, dict[str, Any]] = {}

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Tell the searcher inside what the study is about."""
        super().set_search_properties(metric, mode, config, **spec)
        check_single("Repeater", self._metric, self._mode)
        self.searcher.set_search_properties(metric, mode, config, **spec)
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next repetition, or the first of what the searcher inside proposes."""
        if self._first is None or self._made == self.repeat:
            suggestion = self.searcher.suggest(trial_id)
            if not isinstance(suggestion, dict):
                return suggestion
            self._first, self._config, self._made = trial_id, suggestion, 0
            self._values[trial_id] = []
            self._ended[trial_id] = 0
        config: dict[str, Any] = copy_containers(self._config)
        if self._set_index:
            config[TRIAL_INDEX] = self._made
        self._made += 1
        self._group[trial_id] = self._first
        return config

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """When all of a group have ended, tell the searcher inside their mean; failed ones do not count."""
        first = self._group.pop(trial_id, None)
        if first is None:
            return
        self._ended[first] += 1
        value = look_up(result or {}, str(self._metric))
        if isinstance(value, int | float) and not error:
            self._values[first].append(float(value))
            self._last[first] = dict(result or {})
        if self._ended[first] < self.repeat:
            return
        values, last = self._values.pop(first), self._last.pop(first, None)
        del self._ended[first]
        if last is not None:
            last[str(self._metric)] = statistics.fmean(values)
        self.searcher.on_trial_complete(first, last, error=not values)
