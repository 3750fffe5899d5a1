"""PB2: population based training whose changes are chosen by a Gaussian process instead of by chance.

The process learns, from all intervals of all trials, how much better a trial gets in an interval with
a configuration at an age; the next configuration is where that may be highest.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from heliostat.tune._metrics import look_up, score
from heliostat.tune._trial import Trial
from heliostat.tune.schedulers.pbt import Member, PopulationBasedTraining
from heliostat.tune.schedulers.trial_scheduler import Trials
from heliostat.tune.search.sample import uniform

_CANDIDATES = 500
_MOST_INTERVALS = 500


class PB2(PopulationBasedTraining):
    """Population based training with bounds instead of mutations. Needs scikit-learn.

    Args:
        time_attr: The metric that counts the age.
        metric: What to compare; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        perturbation_interval: A trial's turn comes each time it is older by so much.
        hyperparam_bounds: The lowest and highest value of each number that may change.
        quantile_fraction: This part of the trials takes over from as many of the best; at most 0.5.
        log_config: Write each takeover into the study's policy files.
        require_attrs: A report without the metric or the age is an error; else it does not count.
        synch: All trials wait for each other at each turn.
        custom_explore_fn: Takes the new config and returns one; called last.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: Bounds that are none.

    Example:
        >>> pb2 = PB2(metric="loss", mode="min", hyperparam_bounds={"lr": [0.001, 0.1]})  # doctest: +SKIP
        >>> pb2.debug_string()  # doctest: +SKIP
        'Using PB2: 0 takeovers.'
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        perturbation_interval: float = 60.0,
        hyperparam_bounds: Mapping[str, Any] | None = None,
        quantile_fraction: float = 0.25,
        log_config: bool = True,
        require_attrs: bool = True,
        synch: bool = False,
        custom_explore_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        _regressor()
        bounds = dict(hyperparam_bounds or {})
        self._bounds = {name: _check_bounds(name, pair) for name, pair in bounds.items()}
        super().__init__(
            time_attr=time_attr,
            metric=metric,
            mode=mode,
            perturbation_interval=perturbation_interval,
            hyperparam_mutations={name: uniform(*pair) for name, pair in self._bounds.items()},
            quantile_fraction=quantile_fraction,
            resample_probability=0,
            custom_explore_fn=custom_explore_fn,
            log_config=log_config,
            require_attrs=require_attrs,
            synch=synch,
        )
        self._custom = custom_explore_fn
        self._before: dict[str, tuple[float, float]] = {}
        # An interval a row: the age at its end, the values, how much the score rose per age.
        self._intervals: list[list[float]] = []

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Learn from the interval that ends here, and judge as population based training does."""
        member = self._members[trial.trial_id]
        age, value = look_up(result, self._time_attr), look_up(result, self._metric or "")
        if age is not None and value is not None and self._is_turn(member, age):
            self._learn(trial, age, score(value, self._mode))
        return super().on_trial_result(tune_controller, trial, result)

    def _learn(self, trial: Trial, age: float, now: float) -> None:
        since, before = self._before.get(trial.trial_id, (0.0, math.nan))
        self._before[trial.trial_id] = (age, now)
        gain = (now - before) / (age - since) if age > since else math.nan
        values = [float(trial.config[name]) for name in self._bounds]
        if math.isfinite(gain):
            self._intervals.append([age, *values, gain])
            del self._intervals[:-_MOST_INTERVALS]

    def _explore(self, donor: Trial, member: Member) -> tuple[dict[str, Any], str]:
        its = self._members[donor.trial_id]
        values = self._propose(its.trained)
        config = {**donor.config}
        for name, value in zip(self._bounds, values, strict=True):
            whole = isinstance(donor.config.get(name), int)
            config[name] = round(value) if whole else value
        changes = ",".join(f"{name}={config[name]:.4g}" for name in self._bounds)
        return (config if self._custom is None else self._custom(config)), changes

    def _propose(self, age: float) -> list[float]:
        """Where the gain may be highest: the mean of the process and what is not known of it."""
        rng = np.random.default_rng(self._rng.getrandbits(32))
        low, high = np.array(list(self._bounds.values()), dtype=float).T
        unit = rng.uniform(size=(_CANDIDATES, len(low)))
        if len(self._intervals) < 2:
            return list(map(float, low + unit[0] * (high - low)))
        rows = np.array(self._intervals)
        latest = max(age, float(rows[:, 0].max())) or 1.0
        known = np.column_stack([rows[:, 0] / latest, (rows[:, 1:-1] - low) / (high - low)])
        gains = rows[:, -1]
        gains = (gains - gains.mean()) / (gains.std() or 1.0)
        model = _regressor().fit(known, gains)
        asked = np.column_stack([np.full(_CANDIDATES, age / latest), unit])
        mean, deviation = model.predict(asked, return_std=True)
        best = int(np.argmax(mean + math.sqrt(math.log(len(rows) + 1)) * deviation))
        return list(map(float, low + unit[best] * (high - low)))


def _regressor() -> Any:
    try:
        from sklearn.gaussian_process import GaussianProcessRegressor  # noqa: PLC0415 - optional
        from sklearn.gaussian_process.kernels import RBF  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("PB2 needs scikit-learn: pip install scikit-learn") from error
    # Fixed, as all inputs are between 0 and 1: a few intervals are too few to fit it.
    return GaussianProcessRegressor(RBF(0.3), alpha=0.05, optimizer=None)


def _check_bounds(name: str, pair: Any) -> tuple[float, float]:
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not pair[0] < pair[1]:
        raise ValueError(
            f"hyperparam_bounds[{name!r}] must be [lowest, highest], two numbers, got {pair!r}"
        )
    return float(pair[0]), float(pair[1])
