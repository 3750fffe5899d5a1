"""AimLoggerCallback: each trial of a study is a run in a repository of Aim."""

import math
from numbers import Real
from pathlib import Path
from typing import Any

from heliostat.tune._metrics import flatten
from heliostat.tune._trial import Trial
from heliostat.tune.logger.logger import LoggerCallback

__all__ = ["AimLoggerCallback"]

# The step says the first of them; of the others Aim keeps its own.
_LEFT_OUT = frozenset(["training_iteration", "time_total_s", "timestamp", "pid", "config", "done"])
_PLAIN = (str, bool, int, float, list, type(None))


class AimLoggerCallback(LoggerCallback):
    """Keeps the numbers of each report as metrics `ray/tune/...` of the trial's run in Aim.

    Args:
        repo: Aim's repository, or its directory; the study's own directory if None.
        experiment_name: What runs are filed under; the study's name if None.
        metrics: Which metrics to keep; all if None.
        aim_run_kwargs: For `aim.Run`.

    Raises:
        ImportError: aim is not installed.
        ValueError: `metrics` names none.

    Example:
        >>> callbacks = [AimLoggerCallback(metrics=["loss"])]  # doctest: +SKIP
    """

    def __init__(
        self,
        repo: Any = None,
        experiment_name: str | None = None,
        metrics: list[str] | None = None,
        **aim_run_kwargs: Any,
    ) -> None:
        _run_class()
        if metrics is not None and not metrics:
            raise ValueError("AimLoggerCallback(metrics=[]) keeps nothing; use None for all")
        self._repo = repo
        self._name = experiment_name
        self._metrics = None if metrics is None else frozenset(metrics)
        self._kwargs = aim_run_kwargs
        self._runs: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runs": {}}

    def log_trial_start(self, trial: Trial) -> None:
        """Begin a run; another attempt is another run."""
        self.log_trial_end(trial)
        study = Path(trial.path).parent
        run = _run_class()(
            repo=str(study) if self._repo is None else self._repo,
            experiment=self._name or study.name,
            **self._kwargs,
        )
        self._runs[trial.trial_id] = run
        run["trial_id"], run["trial_log_dir"] = trial.trial_id, trial.path
        plain = {name: _plain(value) for name, value in flatten(trial.config).items()}
        run["hparams"] = {name: v for name, v in plain.items() if isinstance(v, _PLAIN)}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Keep the numbers of a report. What is reported as `epoch` and `context` is about the others."""
        said = {name: value for name, value in result.items() if name not in _LEFT_OUT}
        context, epoch = said.pop("context", None), said.pop("epoch", None)
        step = result.get("timesteps_total") or result.get("training_iteration")
        for name, value in flatten(said).items():
            value = _plain(value)
            wanted = self._metrics is None or name in self._metrics
            if wanted and isinstance(value, Real) and math.isfinite(value):
                self._runs[trial.trial_id].track(
                    value, name=f"ray/tune/{name}", step=step, epoch=epoch, context=context
                )

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Close the run."""
        run = self._runs.pop(trial.trial_id, None)
        if run is not None:
            run.close()


def _plain(value: Any) -> Any:
    """Scalars of numpy's and of tensors as Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _run_class() -> Any:
    try:
        from aim import Run  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("AimLoggerCallback needs Aim: pip install aim") from error
    return Run
