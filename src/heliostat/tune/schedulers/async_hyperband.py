"""Asynchronous successive halving (ASHA): at growing ages only the best part of the trials goes on.

No trial ever waits for others. At each rung (an age) a trial is compared with those that came by before.
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from heliostat.tune._metrics import score
from heliostat.tune._trial import Trial
from heliostat.tune.schedulers.trial_scheduler import Trials, TrialScheduler
from heliostat.tune.search.searcher import check_mode


class AsyncHyperBandScheduler(TrialScheduler):
    """Stops trials that are not among the best at their age.

    Args:
        time_attr: The metric that counts the age.
        metric: What to compare; usually left to `TuneConfig`.
        mode: "min" or "max"; usually left to `TuneConfig`.
        max_t: The age of the last rung.
        grace_period: No trial is stopped younger.
        reduction_factor: One of so many goes on at each rung; the next rung is so many times older.
        brackets: How many ladders of rungs; each begins one rung later than the one before.
        stop_last_trials: Whether trials end at `max_t`.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> asha = AsyncHyperBandScheduler(metric="loss", mode="min", max_t=9, reduction_factor=3)
        >>> asha.rungs
        [[9, 3, 1]]
    """

    def __init__(
        self,
        time_attr: str = "training_iteration",
        metric: str | None = None,
        mode: str | None = None,
        max_t: float = 100,
        grace_period: float = 1,
        reduction_factor: float = 4,
        brackets: int = 1,
        stop_last_trials: bool = True,
    ) -> None:
        super().__init__()
        check_mode(mode)
        if not 0 < grace_period <= max_t:
            raise ValueError(
                f"grace_period must be over 0 and at most max_t, got {grace_period!r} and {max_t!r}"
            )
        if not reduction_factor > 1:
            raise ValueError(f"reduction_factor must be > 1, got {reduction_factor!r}")
        if not brackets >= 1:
            raise ValueError(f"brackets must be >= 1, got {brackets!r}")
        self._metric, self._mode = metric, mode
        self._time_attr = time_attr
        self._max_t = max_t
        self._factor = reduction_factor
        self._stop_last = stop_last_trials
        steps = math.log(max_t / grace_period) / math.log(reduction_factor)
        # log(9) / log(3) may be 1.9999999999999998.
        count = math.floor(steps + 1e-9) + 1
        self.rungs = [
            [grace_period * reduction_factor**k for k in reversed(range(skip, count))]
            for skip in range(min(brackets, count))
        ]
        # For each rung of each ladder who has come by, and their scores in ascending order: there may be
        # a hundred thousand, and each is compared with all.
        self._seen: list[list[set[str]]] = [[set() for _ in ladder] for ladder in self.rungs]
        self._scores: list[list[list[float]]] = [[[] for _ in ladder] for ladder in self.rungs]
        self._ladder: dict[str, int] = {}

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """Put a trial on a ladder, in turn.

        Raises:
            TuneError: There is no metric to compare by.
        """
        self.check_metric()
        self._ladder[trial.trial_id] = len(self._ladder) % len(self.rungs)

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Stop a trial that is old enough, or not good enough for its age."""
        told = self._age_and_value(result, self._time_attr)
        if told is None:
            return self.CONTINUE
        age, value = told
        if age >= self._max_t and self._stop_last:
            return self.STOP
        return self._judge(trial.trial_id, age, score(value, self._mode))

    def _judge(self, trial_id: str, age: float, worth: float) -> str:
        ladder = self._ladder[trial_id]
        marks = zip(self.rungs[ladder], self._seen[ladder], self._scores[ladder], strict=True)
        for rung, seen, scores in marks:
            if age < rung:
                continue
            if trial_id in seen:
                if not self._stop_last:
                    return self.CONTINUE
                continue
            worse = bool(scores) and worth < quantile(scores, 1 - 1 / self._factor)
            seen.add(trial_id)
            bisect.insort(scores, worth)
            return self.STOP if worse else self.CONTINUE
        return self.CONTINUE

    def next_turn(self, trial: Trial) -> float:
        """The next rung."""
        judges = type(self).on_trial_result is AsyncHyperBandScheduler.on_trial_result
        if self._time_attr != "training_iteration" or not judges:
            return 0.0
        ladder = self._ladder[trial.trial_id]
        ahead = [
            rung
            for rung, seen in zip(self.rungs[ladder], self._seen[ladder], strict=True)
            if trial.trial_id not in seen
        ]
        if self._stop_last:
            ahead.append(self._max_t)
        return min(ahead, default=math.inf)

    def on_trial_complete(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """Later trials are compared with its last report, too."""
        self.on_trial_result(tune_controller, trial, result)

    def debug_string(self) -> str:
        """How many trials have come by each rung."""
        counts = [
            f"{rung:g}: {len(seen)}"
            for ladder, marks in zip(self.rungs, self._seen, strict=True)
            for rung, seen in zip(ladder, marks, strict=True)
        ]
        return f"Using AsyncHyperBand: {', '.join(counts)}"


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that a share of all are below, between two of them where it has to be.

    Args:
        ordered: At least one number, in ascending order; infinities may be among them.
        share: From 0 to 1.

    Returns:
        What numpy's `quantile` gives, to the last bit: a trial may lie exactly at the edge.

    Example:
        >>> quantile([1.0, 2.0, 4.0], 0.75)
        3.0
    """
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    if not (math.isfinite(ordered[0]) and math.isfinite(ordered[-1])):
        return low  # between two infinities there is no number
    part = place - below
    if part < 0.5:
        return low + (high - low) * part
    return high - (high - low) * (1 - part)


ASHAScheduler = AsyncHyperBandScheduler
