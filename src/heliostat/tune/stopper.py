"""Stoppers: rules that end a trial, or the whole study, by what was reported."""

import inspect
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import partial
from numbers import Real
from typing import Any

from heliostat.tune._metrics import look_up, rank, user_metrics
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

    Raises:
        TypeError: A value is no number.

    Example:
        >>> MetricStopper({"training_iteration": 3})("1", {"training_iteration": 3})
        True
    """

    def __init__(self, limits: Mapping[str, float]) -> None:
        for name, limit in limits.items():
            if not isinstance(limit, int | float | Real):
                raise TypeError(f"stop={{{name!r}: ...}} needs a number, got {limit!r}")
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
            try:
                reached = bool(value >= limit)
            except (TypeError, ValueError) as error:
                raise TuneError(
                    f"RunConfig(stop={{{name!r}: {limit!r}}}) needs a number, but trial {trial_id} "
                    f"reported {value!r:.80}"
                ) from error
            if reached:
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

    Raises:
        TypeError: It is no number.

    Example:
        >>> MaximumIterationStopper(1)("1", {})
        True
    """

    def __init__(self, max_iter: int) -> None:
        if not isinstance(max_iter, int | float):
            raise TypeError(f"max_iter must be a number, got {max_iter!r}")
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

    Raises:
        TypeError: It is neither.

    Example:
        >>> TimeoutStopper(60).stop_all()
        False
    """

    def __init__(self, timeout: float | timedelta) -> None:
        if not isinstance(timeout, int | float | timedelta):
            raise TypeError(f"timeout must be seconds or a timedelta, got {timeout!r}")
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

    Raises:
        TypeError: One of them is no Stopper.

    Example:
        >>> CombinedStopper(NoopStopper(), MaximumIterationStopper(1))("1", {})
        True
    """

    def __init__(self, *stoppers: Stopper) -> None:
        for stopper in stoppers:
            if not isinstance(stopper, Stopper):
                raise TypeError(f"CombinedStopper() takes Stoppers, got {stopper!r}")
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


class TrialPlateauStopper(Stopper):
    """Ends a trial whose metric does not move any more.

    Args:
        metric: The metric.
        std: It stands still when its last values deviate less than this.
        num_results: How many last values.
        grace_period: No trial ends before so many reports.
        metric_threshold: A value that is good enough: no trial ends that is worse.
        mode: "min" or "max": which values are better than the threshold.

    Raises:
        ValueError: A threshold without a mode, or a value out of range.

    Example:
        >>> stopper = TrialPlateauStopper("loss", num_results=2, grace_period=2)
        >>> stopper("1", {"loss": 0.5}), stopper("1", {"loss": 0.5})
        (False, True)
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.01,
        num_results: int = 4,
        grace_period: int = 4,
        metric_threshold: float | None = None,
        mode: str | None = None,
    ) -> None:
        if mode not in ("min", "max") and not (mode is None and metric_threshold is None):
            raise ValueError(f'with metric_threshold mode must be "min" or "max", got {mode!r}')
        if not num_results >= 1:
            raise ValueError(f"num_results must be >= 1, got {num_results!r}")
        self._metric, self._std = metric, std
        self._grace_period = grace_period
        self._threshold, self._mode = metric_threshold, mode
        self._count: dict[str, int] = {}
        self._last: defaultdict[str, deque[float]] = defaultdict(partial(deque, maxlen=num_results))

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether the trial stands still.

        Raises:
            TuneError: A report lacks the metric.
        """
        value = _number(result, self._metric, trial_id)
        self._last[trial_id].append(value)
        self._count[trial_id] = self._count.get(trial_id, 0) + 1
        if self._count[trial_id] < self._grace_period or self._is_worse(value):
            return False
        return _deviation(self._last[trial_id]) < self._std

    def _is_worse(self, value: float) -> bool:
        if self._threshold is None:
            return False
        return value > self._threshold if self._mode == "min" else value < self._threshold

    def stop_all(self) -> bool:
        """False."""
        return False


class ExperimentPlateauStopper(Stopper):
    """Ends the study when its best values do not move any more.

    Args:
        metric: The metric.
        std: They stand still when they deviate no more than this.
        top: How many best values.
        mode: "min" or "max".
        patience: For how many more reports they must stand still.

    Raises:
        ValueError: A value out of range.

    Example:
        >>> stopper = ExperimentPlateauStopper("loss", top=2)
        >>> stopper("1", {"loss": 0.5}), stopper("2", {"loss": 0.5}), stopper.stop_all()
        (False, True, True)
    """

    def __init__(
        self,
        metric: str,
        std: float = 0.001,
        top: int = 10,
        mode: str = "min",
        patience: int = 0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max", got {mode!r}')
        for name, value, right in (
            ("std > 0", std, std > 0), ("top > 1", top, top > 1), ("patience >= 0", patience, patience >= 0),
        ):  # fmt: skip
            if not right:
                raise ValueError(f"{name} is needed, got {value!r}")
        self._metric, self._mode = metric, mode
        self._std, self._top, self._patience = std, top, patience
        self._best: list[float] = []
        self._still = 0

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether the study ends, and the trial with it.

        Raises:
            TuneError: A report lacks the metric.
        """
        self._best.append(_number(result, self._metric, trial_id))
        self._best.sort(key=lambda value: rank(value, self._mode))
        del self._best[self._top :]
        self._still = self._still + 1 if self._stands() else 0
        return self.stop_all()

    def _stands(self) -> bool:
        return len(self._best) == self._top and _deviation(self._best) <= self._std

    def stop_all(self) -> bool:
        """Whether the best values have stood still for long enough."""
        return self._stands() and self._still >= self._patience


def _number(result: Mapping[str, Any], metric: str, trial_id: str) -> float:
    value = look_up(result, metric)
    if not isinstance(value, Real):
        raise TuneError(
            f"a stopper looks at the metric {metric!r}, of which trial {trial_id} reported {value!r} "
            f"and not a number; it reported {sorted(user_metrics(result))}"
        )
    return float(value)


def _deviation(values: Collection[float]) -> float:
    """The standard deviation, NaN if there is a NaN or an infinity."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


def as_stopper(stop: Any) -> Stopper:
    """What `RunConfig(stop=)` may be (a dict of metric to value, a function, a stopper), as a stopper."""
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
            return FunctionStopper(_of_two(stop))
        case _:
            raise TypeError(
                f"stop must be a dict of metric to value, a function of (trial_id, result), or a "
                f"Stopper, got {stop!r}"
            )


def _of_two(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin without a signature
        return function
    try:
        signature.bind("trial_id", {})
    except TypeError as error:
        raise TypeError(
            f"a stop function takes the trial's id and what it reported, (trial_id, result), but the "
            f"arguments of {function!r} are {signature}"
        ) from error
    return function
