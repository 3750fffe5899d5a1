"""TuneBOHB: proposals from densities of good and bad configurations at the largest budget known.

Own code, after Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at
Scale" (2018): a product of kernels on the unit cube for each of the two. Goes with `HyperBandForBOHB`.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from heliostat.tune._metrics import look_up, score
from heliostat.tune.search._flat import FlatSpace, check_ready
from heliostat.tune.search._unit import to_place, to_value
from heliostat.tune.search.sample import Categorical
from heliostat.tune.search.searcher import Searcher, as_points, check_single

_GOOD = 0.15
_CANDIDATES = 64
_RANDOM_FRACTION = 1 / 3
_WIDEN = 3.0
_NARROWEST = 1e-3


class TuneBOHB(Searcher):
    """Proposes configurations that are likely among the good and unlikely among the bad.

    Args:
        space: A search space of Tune's; usually left to `param_space`.
        bohb_config: `min_points_in_model`, `top_n_percent`, `num_samples`, `random_fraction`,
            `bandwidth_factor` and `min_bandwidth`, as BOHB names them.
        metric: The metric to optimise; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        points_to_evaluate: Configs to try first.
        seed: Makes proposals repeatable.
        max_concurrent: At most so many trials at a time; 0 for as many as fit.

    Raises:
        ValueError: An unknown setting in `bohb_config`.
        TypeError: The space is none of Tune's.

    Example:
        >>> from heliostat import tune
        >>> searcher = TuneBOHB({"x": tune.uniform(0, 1)}, metric="loss", mode="min", seed=1)
        >>> list(searcher.suggest("1"))
        ['x']
    """

    def __init__(
        self,
        space: Any = None,
        bohb_config: dict[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: list[dict[str, Any]] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
    ) -> None:
        super().__init__(metric, mode)
        check_single("TuneBOHB", metric, mode)
        if space is not None and not isinstance(space, dict):
            raise TypeError(f"space must be a search space of Tune's, got {space!r}")
        settings = {
            "min_points_in_model": None,
            "top_n_percent": 100 * _GOOD,
            "num_samples": _CANDIDATES,
            "random_fraction": _RANDOM_FRACTION,
            "bandwidth_factor": _WIDEN,
            "min_bandwidth": _NARROWEST,
        }
        if unknown := set(bohb_config or {}) - settings.keys():
            raise ValueError(f"bohb_config knows {list(settings)}, got {sorted(unknown)}")
        self._settings: dict[str, Any] = {**settings, **(bohb_config or {})}
        self._points = as_points(points_to_evaluate)
        self._rng = np.random.default_rng(int.from_bytes(os.urandom(4)) if seed is None else seed)
        self._max_concurrent = max_concurrent
        self._flat = None if space is None else FlatSpace(space, "TuneBOHB", self._points)
        self._own = space is not None
        self._asked: dict[str, npt.NDArray[np.float64]] = {}
        # Loss by trial, for each budget.
        self._losses: dict[float, dict[str, float]] = {}
        self._places: dict[str, npt.NDArray[np.float64]] = {}

    def set_search_properties(
        self, metric: Any, mode: Any, config: Mapping[str, Any], **spec: Any
    ) -> bool:
        """Take over the space, unless it was given one."""
        super().set_search_properties(metric, mode, config, **spec)
        check_single("TuneBOHB", self._metric, self._mode)
        if not self._own:
            self._flat = FlatSpace(config, "TuneBOHB", self._points)
        return not self._own

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Draw from the good, and take what is the least bad.

        Raises:
            RuntimeError: There is no space, metric or mode.
        """
        check_ready(self, self._flat is not None and self._flat.domains)
        assert self._flat is not None
        if self._max_concurrent and len(self._asked) >= self._max_concurrent:
            return None
        domains = self._flat.domains
        place = self._rng.uniform(size=len(domains))
        if self._points:
            given = self._flat.read(self._points.pop(0))
            for index, name in enumerate(domains):
                if name in given:
                    place[index] = to_place(domains[name], given[name])
        elif self._rng.uniform() >= self._settings["random_fraction"]:
            modelled = self._model()
            place = place if modelled is None else modelled
        self._asked[trial_id] = self._places[trial_id] = place
        places = zip(domains, place, strict=True)
        return self._flat.build({n: to_value(domains[n], float(p)) for n, p in places})

    def _model(self) -> npt.NDArray[np.float64] | None:
        """A proposal by the two densities at the largest budget with enough trials."""
        assert self._flat is not None
        least = (self._settings["min_points_in_model"] or len(self._flat.domains) + 1) + 1
        for budget in sorted(self._losses, reverse=True):
            losses = self._losses[budget]
            if len(losses) < 2 * least - 1 and len(losses) < least + 1:
                continue
            ranked = sorted(losses, key=lambda trial: losses[trial])
            count = max(least - 1, math.ceil(len(ranked) * self._settings["top_n_percent"] / 100))
            count = min(count, len(ranked) - 1)
            good = np.array([self._places[trial] for trial in ranked[:count]])
            others = max(count, len(ranked) - count)
            bad = np.array([self._places[trial] for trial in ranked[-others:]])
            return self._best_of(good, bad)
        return None

    def _best_of(
        self, good: npt.NDArray[np.float64], bad: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        width = self._widths(good, len(good) + len(bad))
        count = self._settings["num_samples"]
        centres = good[self._rng.integers(len(good), size=count)]
        spread = self._settings["bandwidth_factor"] * width
        drawn = np.clip(centres + self._rng.normal(size=centres.shape) * spread, 0, 1)
        others = self._widths(bad, len(good) + len(bad))
        ratio = self._density(drawn, good, width) - self._density(drawn, bad, others)
        return np.asarray(drawn[int(np.argmax(ratio))], dtype=np.float64)

    def _widths(self, points: npt.NDArray[np.float64], known: int) -> npt.NDArray[np.float64]:
        assert self._flat is not None
        rule = 1.06 * points.std(axis=0) * len(points) ** (-1 / (4 + points.shape[1]))
        # Between two choices there is no distance: a kernel reaches the neighbours at least a little.
        floors = [
            0.25 / len(domain.categories) if isinstance(domain, Categorical) else 0.0
            for domain in self._flat.domains.values()
        ]
        # The good ones soon lie close together: the less is known, the further we look around them.
        least = max(1 / min(100, 1 + known), self._settings["min_bandwidth"])
        widths = np.maximum(rule, np.maximum(floors, least))
        return np.asarray(widths, dtype=np.float64)

    def _density(
        self,
        at: npt.NDArray[np.float64],
        points: npt.NDArray[np.float64],
        width: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """The logarithm of a mean of kernels and, as heavy as one of them, the whole cube.

        The cube keeps the ratio of two densities low where neither knows anything.
        """
        distance = (at[:, None, :] - points[None, :, :]) / width
        kernels = np.exp(-0.5 * distance**2) / (math.sqrt(2 * math.pi) * width)
        total = kernels.prod(axis=2).sum(axis=1)
        return np.asarray(np.log((1 + total) / (1 + len(points))), dtype=np.float64)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Learn what a trial is worth at its age so far."""
        value = look_up(result, str(self._metric))
        if trial_id not in self._places or value is None:
            return
        budget = result.get("training_iteration", 1)
        self._losses.setdefault(budget, {})[trial_id] = -score(value, str(self._mode))

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from how a trial ended."""
        self._asked.pop(trial_id, None)
        if result is not None and not error:
            self.on_trial_result(trial_id, result)
