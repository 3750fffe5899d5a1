"""Stoppers: rules that end a trial, or the whole study, by what was reported."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from heliostat.tune._metrics import look_up, user_metrics
from heliostat.tune.error import TuneError


class Stopper:
    """Says after each report whether a trial, or the study, ends; subclass it for your own rule.

    Example:
        >>> class Enough(Stopper):
        ...     def __call__(self, trial_id, result):
        ...         return result["loss"] < 0.1
        ...     def stop_all(self):
        ...         return False
        >>> Enough()("1", {"loss": 0.05})
        True
    """

    # Whether it can stop anything; if not, trials need not wait for an answer after each report.
    decides = True

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Say whether this trial ends."""
        raise NotImplementedError

    def stop_all(self) -> bool:
        """Say whether the study ends."""
        raise NotImplementedError

    def next_turn(self, trial_id: str, iteration: int) -> float:
        """From which report on a trial must wait for the verdict; all before it are judged, too.

        Args:
            trial_id: The trial.
            iteration: The `training_iteration` of its last report, which has been judged.

        Returns:
            The first `training_iteration` at which this stopper may say True. Infinity for none; 0,
            as long as nothing better is known, for the next one.
        """
        return 0.0 if self.decides else math.inf


class NoopStopper(Stopper):
    """Never stops anything.

    Example:
        >>> NoopStopper()("1", {})
        False
    """

    decides = False

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """False."""
        return False

    def stop_all(self) -> bool:
        """False."""
        return False


class FunctionStopper(Stopper):
    """Ends a trial when a function says so.

    Args:
        function: Takes the trial's id and the report.

    Example:
        >>> FunctionStopper(lambda trial_id, result: result["x"] > 1)("1", {"x": 2})
        True
    """

    def __init__(self, function: Callable[[str, Mapping[str, Any]], bool]) -> None:
        self._function = function

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """What the function says."""
        return bool(self._function(trial_id, result))

    def stop_all(self) -> bool:
        """False."""
        return False


class MetricStopper(Stopper):
    """Ends a trial once any of some metrics has reached its value; what a `stop` dict becomes.

    Args:
        limits: Metric to value.

    Example:
        >>> MetricStopper({"training_iteration": 3})("1", {"training_iteration": 3})
        True
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = dict(limits)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether one of the metrics is there.

        Raises:
            TuneError: A report lacks one of the metrics.
        """
        for name, limit in self._limits.items():
            value = look_up(result, name)
            if value is None:
                raise TuneError(
                    f"RunConfig(stop=) names the metric {name!r}, which trial {trial_id} did not "
                    f"report; it reported {sorted(user_metrics(result))}"
                )
            if value >= limit:
                return True
        return False

    def stop_all(self) -> bool:
        """False."""
        return False

    def next_turn(self, trial_id: str, iteration: int) -> float:
        """The limit, if it is one of iterations and the only one."""
        only = len(self._limits) == 1
        return self._limits.get("training_iteration", 0.0) if only else 0.0


class MaximumIterationStopper(Stopper):
    """Ends a trial after a number of reports.

    Args:
        max_iter: How many.

    Example:
        >>> MaximumIterationStopper(1)("1", {})
        True
    """

    def __init__(self, max_iter: int) -> None:
        self._max_iter = max_iter
        self._seen: dict[str, int] = {}

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether the trial has reported often enough."""
        self._seen[trial_id] = self._seen.get(trial_id, 0) + 1
        return self._seen[trial_id] >= self._max_iter

    def stop_all(self) -> bool:
        """False."""
        return False

    def next_turn(self, trial_id: str, iteration: int) -> float:
        """When there will be enough of them."""
        return iteration + self._max_iter - self._seen.get(trial_id, 0)


class TimeoutStopper(Stopper):
    """Ends the study after a time, counted from the first report.

    Args:
        timeout: Seconds, or a timedelta.

    Example:
        >>> TimeoutStopper(60).stop_all()
        False
    """

    def __init__(self, timeout: float | timedelta) -> None:
        self._timeout_s = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        self._since: float | None = None

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """False: it ends all trials or none."""
        return False

    def stop_all(self) -> bool:
        """Whether the time is over."""
        if self._since is None:
            self._since = time.monotonic()
        return time.monotonic() - self._since >= self._timeout_s


class CombinedStopper(Stopper):
    """Stops when any of several stoppers does.

    Args:
        stoppers: The stoppers.

    Example:
        >>> CombinedStopper(NoopStopper(), MaximumIterationStopper(1))("1", {})
        True
    """

    def __init__(self, *stoppers: Stopper) -> None:
        self._stoppers = stoppers
        self.decides = any(stopper.decides for stopper in stoppers)

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether any of them ends the trial; all of them hear the report."""
        verdicts = [stopper(trial_id, result) for stopper in self._stoppers]
        return any(verdicts)

    def stop_all(self) -> bool:
        """Whether any of them ends the study."""
        return any(stopper.stop_all() for stopper in self._stoppers)

    def next_turn(self, trial_id: str, iteration: int) -> float:
        """The next turn of any of them."""
        turns = (stopper.next_turn(trial_id, iteration) for stopper in self._stoppers)
        return min(turns, default=math.inf)


def as_stopper(stop: Any) -> Stopper:
    """What `RunConfig(stop=)` may be, as a stopper.

    Args:
        stop: None, a dict of metric to value, a function, or a stopper.

    Raises:
        TypeError: It is something else.

    Example:
        >>> as_stopper({"loss": 1})("1", {"loss": 2})
        True
    """
    match stop:
        case None:
            return NoopStopper()
        case Stopper():
            return stop
        case Mapping():
            return MetricStopper(stop) if stop else NoopStopper()
        case list() | tuple():
            return CombinedStopper(*map(as_stopper, stop))
        case _ if callable(stop):
            return FunctionStopper(stop)
        case _:
            raise TypeError(
                f"stop must be a dict of metric to value, a function of (trial_id, result), or a "
                f"Stopper, got {stop!r}"
            )
