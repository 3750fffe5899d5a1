"""TuneConfig: how a study searches. Checked when it is made."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from heliostat.tune._trial import Trial
from heliostat.tune.schedulers import TrialScheduler
from heliostat.tune.search.searcher import ConcurrencyLimiter, Searcher, check_mode


@dataclass(frozen=True)
class TuneConfig:
    """How a study searches.

    Args:
        mode: "min" or "max": which values of the metric are better.
        metric: The metric to optimise, as trials report it; `a/b` is `b` inside `a`.
        search_alg: Who proposes configs; random and grid search if None.
        scheduler: Who cuts trials short; nobody if None.
        num_samples: How many times to draw from the space, its whole grid each time; -1 without end.
        max_concurrent_trials: At most so many trials at a time; as many as fit if None or 0.
        time_budget_s: Stop all trials after so many seconds.
        reuse_actors: Let an object of a Trainable class serve one trial after another, if its
            `reset_config` can; warm processes are reused in any case.
        trial_name_creator: A function from a Trial to its name.
        trial_dirname_creator: A function from a Trial to the name of its directory.
        chdir_to_trial_dir: Whether a trial's working directory is its own directory. If None, the
            variable `RAY_CHDIR_TO_TRIAL_DIR` says so: "0" for no, and without it they are. The inline
            engine has one process, whose directory stays.

    Raises:
        ValueError: A value out of range, or values that contradict each other.
        TypeError: A value of the wrong type.

    Example:
        >>> TuneConfig(metric="loss", mode="min", num_samples=3).num_samples
        3
    """

    mode: str | None = None
    metric: str | None = None
    search_alg: Searcher | None = None
    scheduler: TrialScheduler | None = None
    num_samples: int = 1
    max_concurrent_trials: int | None = None
    time_budget_s: float | timedelta | None = None
    reuse_actors: bool = False
    trial_name_creator: Callable[[Trial], str] | None = None
    trial_dirname_creator: Callable[[Trial], str] | None = None
    chdir_to_trial_dir: bool | None = None

    def __post_init__(self) -> None:
        check_mode(self.mode)
        if self.metric is not None and not isinstance(self.metric, str):
            raise TypeError(f"metric must be a name, got {self.metric!r}")
        if self.metric is not None and self.mode is None:
            raise ValueError(
                f'metric={self.metric!r} needs a mode: "min" if less is better, "max" if more is'
            )
        samples = self.num_samples
        if not isinstance(samples, int) or isinstance(samples, bool):
            raise TypeError(f"num_samples must be a whole number, got {samples!r}")
        if samples < 1 and samples != -1:
            raise ValueError(f"num_samples must be >= 1, or -1 without end, got {samples!r}")
        self._check_search()
        budget = self.budget_s
        if not isinstance(budget, int | float | None):
            raise TypeError(
                f"time_budget_s must be seconds or a timedelta, got {self.time_budget_s!r}"
            )
        if budget is not None and not budget > 0:
            raise ValueError(f"time_budget_s must be > 0, got {self.time_budget_s!r}")
        for name in ("trial_name_creator", "trial_dirname_creator"):
            _check_kind(name, getattr(self, name), callable, "a function of a Trial")
        for name in ("chdir_to_trial_dir", "reuse_actors"):
            _check_kind(
                name, getattr(self, name), lambda value: isinstance(value, bool), "True, False"
            )

    def _check_search(self) -> None:
        _check_kind(
            "search_alg",
            self.search_alg,
            lambda alg: isinstance(alg, Searcher),
            'a Searcher (OptunaSearch(...), tune.create_searcher("optuna"))',
        )
        _check_kind(
            "scheduler",
            self.scheduler,
            lambda scheduler: isinstance(scheduler, TrialScheduler),
            'a TrialScheduler (ASHAScheduler(...), tune.create_scheduler("asha"))',
        )
        limit = self.max_concurrent_trials
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise ValueError(f"max_concurrent_trials must be a whole number >= 0, got {limit!r}")
        if limit and isinstance(self.search_alg, ConcurrencyLimiter):
            raise ValueError(
                f"max_concurrent_trials={limit} and a ConcurrencyLimiter as search_alg say the same "
                "thing twice; drop one"
            )

    @property
    def changes_directory(self) -> bool:
        """Whether trials work in their own directories."""
        if self.chdir_to_trial_dir is None:
            return os.environ.get("RAY_CHDIR_TO_TRIAL_DIR", "1") != "0"
        return self.chdir_to_trial_dir

    @property
    def budget_s(self) -> float | None:
        """The time budget in seconds."""
        budget = self.time_budget_s
        return budget.total_seconds() if isinstance(budget, timedelta) else budget


def _check_kind(name: str, value: Any, fits: Callable[[Any], bool], kind: str) -> None:
    if value is not None and not fits(value):
        raise TypeError(f"{name} must be {kind} or None, got {value!r}")
