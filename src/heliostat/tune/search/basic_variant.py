"""BasicVariantGenerator: random and grid search, in an order that depends on the seed alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from heliostat.tune.search import _space
from heliostat.tune.search.randomness import RandomState, apart_from_global, as_rng
from heliostat.tune.search.sample import Domain
from heliostat.tune.search.searcher import Searcher, as_points


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
                    f"which is not in {domain!r}"
                )
        return merged
