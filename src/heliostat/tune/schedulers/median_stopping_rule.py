"""Median stopping: a trial whose best is worse than the median of the others' means ends."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from heliostat.tune._metrics import look_up, score
from heliostat.tune._trial import PAUSED, PENDING, Trial
from heliostat.tune.schedulers.trial_scheduler import Trials, TrialScheduler
from heliostat.tune.search.searcher import check_mode


class MedianStoppingRule(TrialScheduler):
    """Stops a trial whose best value is worse than the median of the others' running means.

    Args:
        time_attr: The metric that counts the age.
        metric: What to compare; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        grace_period: No trial is stopped younger, and younger reports do not count.
        min_samples_required: Compare only with so many other trials or more.
        min_time_slice: Until there are enough, each trial runs for so long before another's turn.
        hard_stop: Whether such a trial ends; else it waits until nothing better is left to run.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> rule = MedianStoppingRule(metric="loss", mode="min", grace_period=5)
        >>> rule.debug_string()
        'Using MedianStoppingRule: 0 trials stopped.'
    """

    def __init__(
        self,
        time_attr: str = "time_total_s",
        metric: str | None = None,
        mode: str | None = None,
        grace_period: float = 60.0,
        min_samples_required: int = 3,
        min_time_slice: float = 0,
        hard_stop: bool = True,
    ) -> None:
        super().__init__()
        check_mode(mode)
        if not grace_period >= 0:
            raise ValueError(f"grace_period must be >= 0, got {grace_period!r}")
        if not min_samples_required >= 1:
            raise ValueError(f"min_samples_required must be >= 1, got {min_samples_required!r}")
        self._metric, self._mode = metric, mode
        self._time_attr = time_attr
        self._grace = grace_period
        self._enough = min_samples_required
        self._slice = min_time_slice
        self._hard_stop = hard_stop
        # Score by age for each trial: an age that is lived through again counts once.
        self._scores: dict[str, dict[float, float]] = {}
        self._last_pause: dict[str, float] = {}
        self._stopped: set[str] = set()

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """Hear of a trial.

        Raises:
            TuneError: There is no metric to compare by.
        """
        self.check_metric()

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Stop a trial that is worse than the median."""
        told, me = self._age_and_value(result, self._time_attr), trial.trial_id
        if told is None or me in self._stopped:
            return self.CONTINUE
        age, value = told
        mine = self._scores.setdefault(me, {})
        mine[age] = score(value, self._mode)
        if age < self._grace:
            return self.CONTINUE
        others = [
            scores for who, scores in self._scores.items() if who != me and max(scores) >= age
        ]
        if len(others) < self._enough:
            return self._give_way(tune_controller, trial, age)
        if max(mine.values()) >= statistics.median(self._mean(scores, age) for scores in others):
            return self.CONTINUE
        self._stopped.add(me)
        return self.STOP if self._hard_stop else self.PAUSE

    def _mean(self, scores: Mapping[float, float], until: float) -> float:
        known = [value for age, value in scores.items() if self._grace <= age <= until]
        return statistics.fmean(known) if known and -math.inf not in known else -math.inf

    def _give_way(self, study: Trials, trial: Trial, age: float) -> str:
        """With too few to compare with, let those that wait catch up."""
        if age - self._last_pause.get(trial.trial_id, 0.0) <= self._slice:
            return self.CONTINUE
        if not any(
            t.status in (PENDING, PAUSED) and t is not trial for t in study.get_live_trials()
        ):
            return self.CONTINUE
        self._last_pause[trial.trial_id] = age
        return self.PAUSE

    def on_trial_complete(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """Remember the last report."""
        age, value = look_up(result, self._time_attr), look_up(result, self._metric or "")
        if age is not None and value is not None:
            self._scores.setdefault(trial.trial_id, {})[age] = score(value, self._mode)

    def choose_trial_to_run(self, tune_controller: Trials) -> Trial | None:
        """Those worse than the median come last."""
        waiting = tune_controller.get_waiting_trials()
        return min(waiting, key=lambda trial: trial.trial_id in self._stopped, default=None)

    def debug_string(self) -> str:
        """How many trials were stopped."""
        return f"Using MedianStoppingRule: {len(self._stopped)} trials stopped."
