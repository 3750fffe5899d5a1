"""JsonLoggerCallback: `params.pkl` beside the `params.json` and `result.json` that are always there."""

from pathlib import Path

import cloudpickle  # type: ignore[import-untyped]  # ships no annotations

from heliostat.tune._trial import Trial
from heliostat.tune.logger.logger import LoggerCallback


class JsonLoggerCallback(LoggerCallback):
    """Writes `params.pkl`; trials write their `result.json` and `params.json` by themselves.

    Example:
        >>> callbacks = [JsonLoggerCallback()]
    """

    def log_trial_start(self, trial: Trial) -> None:
        """Write the configuration as a pickle."""
        path = Path(trial.path, "params.pkl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cloudpickle.dumps(trial.config))
