"""LoggerCallback: the events of a study, trial by trial, for those who write logs."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from heliostat.tune._snapshot import readable
from heliostat.tune._trial import Trial
from heliostat.tune.callback import Callback


class LoggerCallback(Callback):
    """Override what you want to log; every method does nothing by itself.

    Example:
        >>> class Printed(LoggerCallback):
        ...     def log_trial_result(self, iteration, trial, result):
        ...         print(trial, result["loss"])
    """

    def log_trial_start(self, trial: Trial) -> None:
        """An attempt of a trial starts."""

    def log_trial_restore(self, trial: Trial) -> None:
        """An attempt goes on from a checkpoint."""

    def log_trial_save(self, trial: Trial) -> None:
        """A checkpoint was stored."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """A trial reported."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """A trial ended."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Log it."""
        self.log_trial_start(trial)

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Log it."""
        self.log_trial_restore(trial)

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Log it."""
        self.log_trial_save(trial)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Log it."""
        self.log_trial_result(iteration, trial, result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Log it."""
        self.log_trial_end(trial, failed=False)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Log it."""
        self.log_trial_end(trial, failed=True)


def pretty_print(result: Mapping[str, Any], exclude: Collection[str] | None = None) -> str:
    """A report as YAML, for people; without the configuration and what is None.

    Args:
        result: The report.
        exclude: Names to leave out.

    Returns:
        The text.

    Raises:
        ImportError: PyYAML is not installed.

    Example:
        >>> print(pretty_print({"loss": 0.5, "eval": {"n": 3}, "config": {"x": 1}}), end="")
        eval:
          n: 3
        loss: 0.5
    """
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("pretty_print() needs PyYAML: pip install pyyaml") from error
    left_out = {"config", "hist_stats", *(exclude or ())}
    shown = {k: v for k, v in result.items() if v is not None and k not in left_out}
    text: str = yaml.safe_dump(json.loads(readable(shown)), default_flow_style=False)
    return text
