"""TrialScheduler: who cuts a trial short. It sees results and decides; no I/O."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Protocol

from heliostat.tune._messages import Exploit
from heliostat.tune._metrics import look_up
from heliostat.tune._trial import Trial
from heliostat.tune.error import TuneError

_log = logging.getLogger("heliostat.tune")


class Trials(Protocol):
    """The study as a scheduler sees it."""

    def get_trials(self) -> list[Trial]:
        """All trials so far."""

    def get_live_trials(self) -> list[Trial]:
        """Those that have not ended."""

    def get_waiting_trials(self) -> list[Trial]:
        """Those that may run now, pending ones before paused ones."""

    def get_capacity(self) -> Mapping[str, float]:
        """The resources of the cluster."""

    def stop_trial(self, trial: Trial) -> None:
        """End a trial: one that waits ends at once, one that runs is told to."""

    def exploit(self, trial: Trial, exploit: Exploit) -> None:
        """Let the next attempt of a trial have another configuration, from a donor's checkpoint."""

    def set_resources(self, trial: Trial, request: Any, total: Mapping[str, float]) -> None:
        """Let the next attempt of a trial have other resources."""


class TrialScheduler:
    """Decides after each report whether a trial goes on; subclass it for your own rule.

    Example:
        >>> class StopAtOnce(TrialScheduler):
        ...     def on_trial_result(self, tune_controller, trial, result):
        ...         return TrialScheduler.STOP
        >>> StopAtOnce().on_trial_result(None, None, {})
        'STOP'
    """

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"
    NOOP = "NOOP"
    # Save the trial, then let it go on.
    SAVE = "SAVE"

    # Whether results may change anything; if not, trials need not wait for an answer after each report.
    decides = True
    _told = False  # of reports without an age

    def __init__(self) -> None:
        self._metric: str | None = None
        self._mode: str | None = None

    @property
    def metric(self) -> str | None:
        """The metric it looks at."""
        return self._metric

    @property
    def mode(self) -> str | None:
        """Which direction is better, "min" or "max"."""
        return self._mode

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Hear what the study is about, before the first trial.

        Args:
            metric: The metric of `TuneConfig`.
            mode: The mode of `TuneConfig`.
            spec: More about the study.

        Returns:
            False when metric or mode were given to the scheduler already and differ in source.
        """
        if (self._metric and metric) or (self._mode and mode):
            return False
        self._metric = self._metric or metric
        self._mode = self._mode or mode
        return True

    def check_metric(self) -> None:
        """Refuse to judge without a metric.

        Raises:
            TuneError: There is none to compare by.
        """
        if self._metric is None or self._mode is None:
            raise TuneError(
                f"{type(self).__name__} needs a metric and a mode: give them to TuneConfig or to it"
            )

    def _age_and_value(self, result: Mapping[str, Any], time_attr: str) -> tuple[Any, Any] | None:
        """The age and the metric that a report tells; None without both of them.

        Without an age nothing is ever judged, which is logged once.
        """
        age, value = look_up(result, time_attr), look_up(result, self._metric or "")
        if age is not None and value is not None:
            return age, value
        if value is not None and not self._told:
            self._told = True
            _log.warning(
                "%s stops nothing: it counts age by %r, but reports have only %s. Report it, or "
                "give time_attr='training_iteration', which is counted for you",
                type(self).__name__, time_attr, ", ".join(map(repr, sorted(result))),
            )  # fmt: skip
        return None

    def on_trial_add(self, tune_controller: Trials, trial: Trial) -> None:
        """A trial was proposed."""

    def on_trial_error(self, tune_controller: Trials, trial: Trial) -> None:
        """A trial failed for good."""

    def on_trial_result(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> str:
        """Judge a report.

        Returns:
            `CONTINUE`, `SAVE`, `PAUSE` or `STOP`.
        """
        return self.CONTINUE

    def next_turn(self, trial: Trial) -> float:
        """From which report on a trial must wait for the verdict; all before it are judged, too.

        Args:
            trial: The trial; its last report has been judged.

        Returns:
            The first `training_iteration` about which this scheduler may say anything but
            `CONTINUE`. Infinity for none; 0, as long as nothing better is known, for the next one.
        """
        return 0.0 if self.decides else math.inf

    def on_trial_complete(
        self, tune_controller: Trials, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """A trial ended well; `result` is its last report."""

    def on_trial_remove(self, tune_controller: Trials, trial: Trial) -> None:
        """A trial was ended before it ever ran, or while paused."""

    def choose_trial_to_run(self, tune_controller: Trials) -> Trial | None:
        """Choose among the trials that wait; None for none of them now."""
        return next(iter(tune_controller.get_waiting_trials()), None)

    def debug_string(self) -> str:
        """A line about itself for people."""
        return f"Using {type(self).__name__}."


class FIFOScheduler(TrialScheduler):
    """Runs every trial to its end, in the order proposed; a subclass may decide otherwise.

    Example:
        >>> FIFOScheduler().on_trial_result(None, None, {})
        'CONTINUE'
    """

    decides = False

    def __init_subclass__(cls) -> None:
        cls.decides = vars(cls).get("decides", True)
