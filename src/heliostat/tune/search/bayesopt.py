"""BayesOptSearch: configurations by Bayesian optimisation with a Gaussian process."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from heliostat.tune._metrics import look_up
from heliostat.tune.search._flat import FlatSpace, check_ready
from heliostat.tune.search._unit import to_place, to_value
from heliostat.tune.search.searcher import Searcher, as_points, check_single


class BayesOptSearch(Searcher):
    """Lets `bayesian-optimization` propose the configurations. Needs that package.

    Whole numbers, choices and logarithmic ranges are searched, too: as places between 0 and 1.

    Args:
        space: Bounds by name, `{"x": (0, 1)}`; usually left to `param_space`.
        metric: The metric to optimise; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        points_to_evaluate: Configs to try first.
        utility_kwargs: How to weigh what is not known: `{"kind": "ucb", "kappa": 2.5, "xi": 0.0}`;
            kinds are `ucb`, `ei` and `poi`.
        random_state: A seed.
        random_search_steps: So many are drawn before anything is learned.
        verbose: 0 for silence, up to 2.
        patience: After so many proposals in a row that were made before, there are no more.
        skip_duplicate: Do not try again what was tried.
        analysis: A study whose trials are known already.
        repeat_float_precision: Proposals that differ after so many digits are the same.

    Raises:
        ImportError: The package is not installed.
        ValueError: Patience under 1, or an unknown kind.

    Example:
        >>> searcher = BayesOptSearch({"x": (0, 1)}, metric="loss", mode="min")  # doctest: +SKIP
        >>> list(searcher.suggest("1"))  # doctest: +SKIP
        ['x']
    """

    def __init__(
        self,
        space: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        utility_kwargs: dict[str, Any] | None = None,
        random_state: int = 42,
        random_search_steps: int = 10,
        verbose: int = 0,
        patience: int = 5,
        skip_duplicate: bool = True,
        analysis: Any = None,
        repeat_float_precision: int = 5,
    ) -> None:
        _bayes_opt()
        super().__init__(metric, mode)
        check_single("BayesOptSearch", metric, mode)
        if not patience >= 1:
            raise ValueError(f"patience must be >= 1, got {patience!r}")
        self._points = as_points(points_to_evaluate)
        self._utility = utility_kwargs or {"kind": "ucb", "kappa": 2.5, "xi": 0.0}
        self._seed = random_state
        self._random_steps = random_search_steps
        self._verbose = verbose
        self._patience = patience
        self._skip = skip_duplicate
        self._analysis = analysis
        self._digits = repeat_float_precision
        self._bounds = space
        self._flat: FlatSpace | None = None
        self._optimizer: Any = None
        self._asked: dict[str, dict[str, float]] = {}
        self._rng = np.random.RandomState(random_state)
        self._seen: set[tuple[float, ...]] = set()
        self._repeats = 0
        if space is not None:
            self._begin()

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space, unless it was given one."""
        super().set_search_properties(metric, mode, config, **spec)
        check_single("BayesOptSearch", self._metric, self._mode)
        if self._optimizer is None:
            self._flat = FlatSpace(config, "BayesOptSearch", self._points)
            if self._flat.domains:
                self._bounds = dict.fromkeys(self._flat.domains, (0.0, 1.0))
                self._begin()
        elif self._flat is None:
            return False
        if self._analysis is not None and self._metric and self._mode:
            self.add_evaluated_trials(self._analysis, str(self._metric))
            self._analysis = None
        return True

    def _begin(self) -> None:
        bayes_opt = _bayes_opt()
        kind = self._utility.get("kind", "ucb")
        kappa, xi = self._utility.get("kappa", 2.5), self._utility.get("xi", 0.0)
        kinds = {
            "ucb": lambda: bayes_opt.acquisition.UpperConfidenceBound(kappa=kappa),
            "ei": lambda: bayes_opt.acquisition.ExpectedImprovement(xi=xi),
            "poi": lambda: bayes_opt.acquisition.ProbabilityOfImprovement(xi=xi),
        }
        if kind not in kinds:
            raise ValueError(f"utility_kwargs['kind'] must be one of {list(kinds)}, got {kind!r}")
        self._optimizer = bayes_opt.BayesianOptimization(
            f=None,
            pbounds=self._bounds,
            acquisition_function=kinds[kind](),
            random_state=self._seed,
            verbose=self._verbose,
            allow_duplicate_points=True,
        )

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Ask for the place that promises most.

        Raises:
            RuntimeError: There is no space, metric or mode.
        """
        check_ready(self, self._optimizer is not None)
        while True:
            places = self._propose()
            if places is None:
                return None  # wait for what is under way
            key = tuple(round(places[name], self._digits) for name in sorted(places))
            if key not in self._seen or not self._skip:
                break
            if self._asked and not self._points:
                return None  # what is under way may change its mind
            self._repeats += 1
            if self._repeats >= self._patience:
                return Searcher.FINISHED
        self._repeats = 0
        self._seen.add(key)
        self._asked[trial_id] = places
        return self._config(places)

    def _propose(self) -> dict[str, float] | None:
        if self._points:
            return self._read(self._points.pop(0))
        if self._random_steps > 0:
            self._random_steps -= 1
            space = self._optimizer.space
            row = space.random_sample(random_state=self._rng)
            return dict(space.array_to_params(row))
        if self._asked and not len(self._optimizer.space):
            return None
        return dict(self._optimizer.suggest())

    def _read(self, config: Mapping[str, Any]) -> dict[str, float]:
        if self._flat is None:
            return {name: float(config[name]) for name in self._bounds or ()}
        values = self._flat.read(config)
        places = {name: to_place(self._flat.domains[name], value) for name, value in values.items()}
        return {name: places.get(name, 0.5) for name in self._flat.domains}

    def _config(self, places: Mapping[str, float]) -> dict[str, Any]:
        if self._flat is None:
            return {name: float(value) for name, value in places.items()}
        domains = self._flat.domains
        return self._flat.build({n: to_value(domains[n], float(p)) for n, p in places.items()})

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from how a trial ended."""
        places = self._asked.pop(trial_id, None)
        value = look_up(result or {}, str(self._metric))
        if places is not None and not error:
            self._register(places, value)

    def _register(self, places: dict[str, float], value: Any) -> None:
        try:
            target = float(value)
        except (TypeError, ValueError):
            return
        if target == target:
            self._optimizer.register(places, target if self._mode == "max" else -target)

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: Any = None,
    ) -> None:
        """Learn from a configuration whose value is known; failed and cut short ones do not count."""
        if not error and not pruned:
            self._register(self._read(parameters), value)


def _bayes_opt() -> Any:
    try:
        import bayes_opt  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "BayesOptSearch needs bayesian-optimization: pip install bayesian-optimization"
        ) from error
    return bayes_opt
