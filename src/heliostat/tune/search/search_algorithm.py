"""SearchAlgorithm and SearchGenerator: the names under which Ray wraps a searcher."""

from collections.abc import Mapping
from typing import Any

from heliostat.tune.search.searcher import Searcher


class SearchAlgorithm(Searcher):
    """A searcher that knows when it is done; `Searcher` is all that most need.

    Example:
        >>> algorithm = SearchAlgorithm()
        >>> algorithm.set_finished()
        >>> algorithm.is_finished(), algorithm.suggest("1")
        (True, 'FINISHED')
    """

    _finished = False

    def is_finished(self) -> bool:
        """Whether there will be no more trials."""
        return self._finished

    def set_finished(self) -> None:
        """There shall be no more trials."""
        self._finished = True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Nothing more, once it is finished; a subclass proposes before that."""
        if self._finished:
            return Searcher.FINISHED
        raise NotImplementedError(f"{type(self).__name__} must override suggest()")


class SearchGenerator(SearchAlgorithm):
    """A searcher as a search algorithm.

    Args:
        searcher: Who proposes.

    Raises:
        TypeError: It is no Searcher.

    Example:
        >>> from heliostat.tune.search import BasicVariantGenerator
        >>> generator = SearchGenerator(BasicVariantGenerator())
        >>> generator.set_search_properties("loss", "min", {"x": 1})
        True
        >>> generator.suggest("1")
        {'x': 1}
    """

    def __init__(self, searcher: Searcher) -> None:
        if not isinstance(searcher, Searcher):
            raise TypeError(f"SearchGenerator takes a Searcher, got {searcher!r}")
        super().__init__(searcher.metric, searcher.mode)
        self.searcher = searcher

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
        """Ask the searcher inside."""
        suggestion = Searcher.FINISHED if self._finished else self.searcher.suggest(trial_id)
        if suggestion == Searcher.FINISHED:
            self._finished = True
        return suggestion

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on."""
        self.searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass the end of a trial on."""
        self.searcher.on_trial_complete(trial_id, result, error)
