"""HyperOptSearch: configurations by Hyperopt's tree of Parzen estimators."""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from heliostat.tune._metrics import look_up
from heliostat.tune.search._flat import FlatSpace, check_ready
from heliostat.tune.search.sample import Categorical, Float, Integer
from heliostat.tune.search.searcher import Searcher, as_points, check_single


class HyperOptSearch(Searcher):
    """Lets Hyperopt propose the configurations. Needs the package `hyperopt`.

    Args:
        space: A space of Hyperopt's; usually left to `param_space`.
        metric: The metric to optimise; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        points_to_evaluate: Configs to try first.
        n_initial_points: So many are drawn before anything is learned.
        random_state_seed: Makes proposals repeatable.
        gamma: The part of the trials that counts as good.

    Raises:
        ImportError: Hyperopt is not installed.

    Example:
        >>> from heliostat import tune
        >>> searcher = HyperOptSearch(metric="loss", mode="min", random_state_seed=1)  # doctest: +SKIP
        >>> searcher.set_search_properties(None, None, {"x": tune.uniform(0, 1)})  # doctest: +SKIP
        True
        >>> list(searcher.suggest("1"))  # doctest: +SKIP
        ['x']
    """

    def __init__(
        self,
        space: Any = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        n_initial_points: int = 20,
        random_state_seed: int | None = None,
        gamma: float = 0.25,
    ) -> None:
        hyperopt = _hyperopt()
        super().__init__(metric, mode)
        check_single("HyperOptSearch", metric, mode)
        self._points = as_points(points_to_evaluate)
        self._algorithm = partial(
            hyperopt.tpe.suggest, n_startup_jobs=n_initial_points, gamma=gamma, verbose=False
        )
        seed = int.from_bytes(os.urandom(4)) if random_state_seed is None else random_state_seed
        self._rng = np.random.default_rng(seed)
        self._space = space
        self._flat: FlatSpace | None = None
        self._domain: Any = None
        self._trials: Any = None
        self._asked: dict[str, int] = {}
        if space is not None:
            self._begin()

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space, unless it was given one."""
        super().set_search_properties(metric, mode, config, **spec)
        check_single("HyperOptSearch", self._metric, self._mode)
        if self._space is not None:
            return False
        self._flat = FlatSpace(config, "HyperOptSearch", self._points)
        if self._flat.domains:
            self._space = {name: _convert(name, d) for name, d in self._flat.domains.items()}
            self._begin()
        return True

    def _begin(self) -> None:
        hyperopt = _hyperopt()
        self._domain = hyperopt.Domain(lambda config: config, self._space)
        if self._points:
            from hyperopt.fmin import generate_trials_to_calculate  # noqa: PLC0415 - optional

            self._trials = generate_trials_to_calculate(map(self._read, self._points))
        else:
            self._trials = hyperopt.Trials()
        self._ready_made = list(self._trials._dynamic_trials)

    def _read(self, point: Mapping[str, Any]) -> dict[str, Any]:
        if self._flat is None:
            return dict(point)
        domains = self._flat.domains
        return {name: _encode(domains[name], v) for name, v in self._flat.read(point).items()}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Ask Hyperopt.

        Raises:
            RuntimeError: There is no space, metric or mode.
        """
        hyperopt = _hyperopt()
        check_ready(self, self._domain is not None)
        if self._ready_made:
            document = self._ready_made.pop(0)
        else:
            ids = self._trials.new_trial_ids(1)
            self._trials.refresh()
            seed = int(self._rng.integers(2**31 - 1))
            [document] = self._algorithm(ids, self._domain, self._trials, seed)
            self._trials.insert_trial_doc(document)
            self._trials.refresh()
        self._asked[trial_id] = document["tid"]
        chosen = {name: value[0] for name, value in document["misc"]["vals"].items() if value}
        values = hyperopt.space_eval(self._space, chosen)
        if self._flat is None:
            return dict(values)
        domains = self._flat.domains
        return self._flat.build({name: _decode(domains[name], v) for name, v in values.items()})

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell Hyperopt how a trial ended."""
        hyperopt = _hyperopt()
        number = self._asked.pop(trial_id, None)
        if number is None:
            return
        documents = [doc for doc in self._trials._dynamic_trials if doc["tid"] == number]
        value = look_up(result or {}, str(self._metric))
        try:
            loss = float(value) * (1 if self._mode == "min" else -1)
        except (TypeError, ValueError):
            loss = np.nan
        for document in documents:
            if error or np.isnan(loss):
                document["state"] = hyperopt.JOB_STATE_ERROR
                document["misc"]["error"] = "the trial failed or reported no number"
            else:
                document["state"] = hyperopt.JOB_STATE_DONE
                document["result"] = {"loss": loss, "status": "ok"}
        self._trials.refresh()


def _hyperopt() -> Any:
    try:
        import hyperopt  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("HyperOptSearch needs Hyperopt: pip install hyperopt") from error
    return hyperopt


def _convert(name: str, domain: Float | Integer | Categorical) -> Any:
    hp = _hyperopt().hp
    match domain:
        case Categorical():
            return hp.choice(name, list(range(len(domain.categories))))
        case Integer(shape="log"):
            low, high = np.log(domain.lower), np.log(domain.upper)
            return hp.qloguniform(name, low, high, domain.q or 1)
        case Integer(q=q) if q is not None and q > 1:
            return hp.quniform(name, domain.lower, domain.upper, q)
        case Integer():
            return hp.uniformint(name, domain.lower, domain.upper - 1)
        case Float(shape="normal", q=q) if q:
            return hp.qnormal(name, domain.mean, domain.sd, q)
        case Float(shape="normal"):
            return hp.normal(name, domain.mean, domain.sd)
        case Float(lower=low_or_none, upper=high_or_none, q=q):
            assert low_or_none is not None
            assert high_or_none is not None
            if domain.shape == "log":
                bounds = np.log(low_or_none), np.log(high_or_none)
                return hp.qloguniform(name, *bounds, q) if q else hp.loguniform(name, *bounds)
            bounds = low_or_none, high_or_none
            return hp.quniform(name, *bounds, q) if q else hp.uniform(name, *bounds)


def _encode(domain: Any, value: Any) -> Any:
    return list(domain.categories).index(value) if isinstance(domain, Categorical) else value


def _decode(domain: Any, value: Any) -> Any:
    if isinstance(domain, Categorical):
        return domain.categories[int(value)]
    if isinstance(domain, Integer):
        # Rounding may step over a bound by one.
        top = domain.upper if domain.q and domain.q > 1 else domain.upper - 1
        return min(max(round(value), domain.lower), top)
    return float(value)
