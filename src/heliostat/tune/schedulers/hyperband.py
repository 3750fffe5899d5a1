"""HyperBand: brackets of trials that wait for each other at each milestone; the better part goes on.

A trial at its bracket's milestone is paused until all of the bracket are there. What a bracket needs to
know of its trials it keeps itself; it does not look at their states.
"""

import math
from collections.abc import Mapping
from typing import Any

from heliostat.tune._metrics import score
from heliostat.tune._trial import Trial
from heliostat.tune.schedulers.trial_scheduler import Trials, TrialScheduler
from heliostat.tune.search.searcher import check_mode


class Bracket:
    """Trials that are halved together.

    Args:
        size: How many trials it takes.
        budget: The age of its first milestone.
        halvings: How many milestones come after that.
        max_t: No milestone is older.
        factor: One of so many goes on at each milestone; the next round is so many times longer.
    """

    def __init__(self, size: int, budget: int, halvings: int, max_t: int, factor: float) -> None:
        self.size = size
        self.milestone = self._round = budget
        self.halvings = halvings
        self._max_t = max_t
        self._factor = factor
        self._goes_on = size
        self.added = 0
        self.closed = False
        # The last report of each trial that is still in it: age and score.
        self.trials: dict[str, tuple[float, float]] = {}

    def add(self, trial_id: str) -> None:
        """Take in a trial."""
        self.trials[trial_id] = (0.0, -math.inf)
        self.added += 1
        self.closed = self.added == self.size

    def waits(self, trial_id: str) -> bool:
        """Whether a trial is at the milestone."""
        return self.trials[trial_id][0] >= self.milestone

    def is_round_over(self) -> bool:
        """Whether all of its trials are at the milestone."""
        return bool(self.trials) and self.closed and all(map(self.waits, self.trials))

    def is_last_round(self) -> bool:
        """Whether nothing comes after this milestone."""
        return self.halvings == 0

    def halve(self) -> list[str]:
        """Move the milestone on.

        Returns:
            The trials that are out, worst first.
        """
        assert self.halvings > 0
        self.halvings -= 1
        self._goes_on = math.ceil(self._goes_on / self._factor)
        self._round = min(int(self._round * self._factor), self._max_t - self.milestone)
        self.milestone += self._round
        # Stable: of equals the older one stays.
        ranked = sorted(self.trials, key=lambda who: -self.trials[who][1])
        return ranked[: self._goes_on - 1 : -1] if self._goes_on < len(ranked) else []


class HyperBandScheduler(TrialScheduler):
    """Successive halving in brackets that trade the number of trials against how long each runs.

    Args:
        time_attr: The metric that counts the age; whole numbers.
        metric: What to compare; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        max_t: The age at which trials end.
        reduction_factor: One of so many goes on at each milestone.
        stop_last_trials: Whether those that are left end at `max_t`.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> hyperband = HyperBandScheduler(metric="loss", mode="min", max_t=9)
        >>> hyperband.plan()
        [(3, 9), (5, 3), (9, 1)]
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: int = 81,
        reduction_factor: float = 3,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__()
        check_mode(mode)
        if not max_t > 0:
            raise ValueError(f"max_t must be > 0, got {max_t!r}")
        if not reduction_factor > 1:
            raise ValueError(f"reduction_factor must be > 1, got {reduction_factor!r}")
        self._metric, self._mode = metric, mode
        self._time_attr = time_attr
        self._max_t = max_t
        self._factor = reduction_factor
        self._stop_last = stop_last_trials
        self.brackets: list[Bracket] = []
        self._bracket: dict[str, Bracket] = {}

    def plan(self) -> list[tuple[int, int]]:
        """The brackets of a band in the order in which they are filled: trials, and first milestone."""
        return [(size, budget) for size, budget, _ in self._plan()]

    def _plan(self) -> list[tuple[int, int, int]]:
        rounds = round(math.log(self._max_t) / math.log(self._factor)) + 1
        brackets = []
        for halvings in range(rounds):
            size = math.ceil(rounds / (halvings + 1) * self._factor**halvings)
            budget = int(self._max_t * self._factor**-halvings)
            if budget > 0:
                brackets.append((size, budget, halvings))
        return brackets

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """Put a trial into a bracket: the one being filled, or the next.

        Raises:
            TuneError: There is no metric to compare by.
        """
        self.check_metric()
        if not self.brackets or self.brackets[-1].closed:
            plan = self._plan()
            size, budget, halvings = plan[len(self.brackets) % len(plan)]
            self.brackets.append(Bracket(size, budget, halvings, self._max_t, self._factor))
        self.brackets[-1].add(trial.trial_id)
        self._bracket[trial.trial_id] = self.brackets[-1]

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Let a trial run to its milestone, and wait there for the others."""
        told = self._age_and_value(result, self._time_attr)
        bracket = self._bracket[trial.trial_id]
        if told is None or trial.trial_id not in bracket.trials:
            return self.CONTINUE
        age, value = told
        bracket.trials[trial.trial_id] = (age, score(value, self._mode))
        if not bracket.waits(trial.trial_id):
            return self.CONTINUE
        if bracket.is_last_round():
            return self.STOP if self._stop_last else self.CONTINUE
        out = self._end_round(tune_controller, bracket, trial)
        if trial.trial_id in out:
            return self.STOP
        return self.PAUSE if bracket.waits(trial.trial_id) else self.CONTINUE

    def _end_round(self, study: Trials, bracket: Bracket, judged: Trial | None) -> set[str]:
        """Halve a bracket if all are at its milestone; the trial being judged is stopped by verdict."""
        out: set[str] = set()
        while bracket.is_round_over() and not bracket.is_last_round():
            out.update(bracket.halve())
            for trial_id in out & bracket.trials.keys():
                del bracket.trials[trial_id]
        for trial in study.get_live_trials() if out else ():
            if trial.trial_id in out and trial is not judged:
                study.stop_trial(trial)
        return out

    def on_trial_complete(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """The others wait for it no more."""
        self._forget(tune_controller, trial)

    def on_trial_error(self, tune_controller: Trials, trial: Trial) -> None:
        """The others wait for it no more."""
        self._forget(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Trials, trial: Trial) -> None:
        """The others wait for it no more."""
        self._bracket[trial.trial_id].trials.pop(trial.trial_id, None)

    def _forget(self, study: Trials, trial: Trial) -> None:
        bracket = self._bracket[trial.trial_id]
        if bracket.trials.pop(trial.trial_id, None) is not None:
            self._end_round(study, bracket, None)

    def choose_trial_to_run(self, tune_controller: Trials) -> Trial | None:
        """A trial that is not at its milestone; when none is, what is there has to do."""
        if found := self._find(tune_controller):
            return found
        if all(self._is_waiting(trial) for trial in tune_controller.get_live_trials()):
            for bracket in self.brackets:
                bracket.closed = True  # nobody comes any more, or not before these go on
                self._end_round(tune_controller, bracket, None)
        return self._find(tune_controller)

    def _find(self, study: Trials) -> Trial | None:
        return next((t for t in study.get_waiting_trials() if not self._is_waiting(t)), None)

    def _is_waiting(self, trial: Trial) -> bool:
        bracket = self._bracket[trial.trial_id]
        return trial.trial_id in bracket.trials and bracket.waits(trial.trial_id)

    def debug_string(self) -> str:
        """The brackets, and how many trials are in each."""
        inside = ", ".join(
            f"{len(bracket.trials)} of {bracket.size} to {bracket.milestone}"
            for bracket in self.brackets
        )
        return f"Using {type(self).__name__}: {inside or 'no trials yet'}"
