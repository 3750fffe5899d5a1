"""Comet: a callback that keeps each trial of a study as an experiment there, or in a file for later."""

import os
from typing import Any

from heliostat.tune._metrics import flatten
from heliostat.tune._trial import Trial
from heliostat.tune.logger import LoggerCallback

__all__ = ["CometLoggerCallback"]

# What Comet records by itself and trials have no need of; on request all the same.
_OFF = (
    "auto_output_logging", "log_git_metadata", "log_git_patch", "log_env_cpu", "log_env_gpu",
)  # fmt: skip
_SYSTEM = frozenset(["node_ip", "hostname", "pid", "date"])
_OTHER = frozenset(["trial_id", "experiment_tag"])
_LEFT_OUT = frozenset(["done", "should_checkpoint", "config", "checkpoint_dir_name"])


class CometLoggerCallback(LoggerCallback):
    """Keeps each trial of a study as an experiment of Comet.

    The API key is what Comet finds by itself, such as `COMET_API_KEY`, or the argument `api_key`,
    which is written down with the study.

    Args:
        online: Send them; else each is kept in a file that `comet upload` sends later.
        tags: Tags of every experiment.
        save_checkpoints: Send checkpoints as artifacts.
        experiment_kwargs: For `comet_ml.Experiment`, or `OfflineExperiment`, such as `project_name`.

    Raises:
        ImportError: comet_ml is not installed.

    Example:
        >>> callbacks = [CometLoggerCallback(project_name="speeds")]  # doctest: +SKIP
    """

    def __init__(
        self,
        online: bool = True,
        tags: list[str] | None = None,
        save_checkpoints: bool = False,
        **experiment_kwargs: Any,
    ) -> None:
        _comet()
        self._online = online
        self._tags = list(tags or ())
        self._checkpoints = save_checkpoints
        self._kwargs = {**dict.fromkeys(_OFF, False), **experiment_kwargs}
        self._experiments: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_experiments": {}}

    def log_trial_start(self, trial: Trial) -> None:
        """Begin an experiment; an attempt after a failure goes on with it."""
        if trial.trial_id in self._experiments:
            return
        comet = _comet()
        made = (comet.Experiment if self._online else comet.OfflineExperiment)(**self._kwargs)
        # Comet keeps the last one for everybody in the process; there are several at a time.
        comet.config.set_global_experiment(None)
        self._experiments[trial.trial_id] = made
        made.set_name(str(trial))
        made.add_tags(self._tags)
        made.log_parameters(flatten(trial.config))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Send a report."""
        experiment, step = self._experiments[trial.trial_id], result.get("training_iteration")
        flat = {k: v for k, v in flatten(result).items() if k.partition("/")[0] not in _LEFT_OUT}
        for name in _SYSTEM & flat.keys():
            experiment.log_system_info(name, flat.pop(name))
        experiment.log_others({name: flat.pop(name) for name in _OTHER & flat.keys()})
        experiment.log_metrics(flat, step=step)

    def log_trial_save(self, trial: Trial) -> None:
        """Send the checkpoint, if that was asked for."""
        if not self._checkpoints or trial.checkpoint is None:
            return
        artifact = _comet().Artifact(name=f"checkpoint_{trial}", artifact_type="model")
        with trial.checkpoint.as_directory() as directory:
            artifact.add(directory)
            self._experiments[trial.trial_id].log_artifact(artifact)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the experiment."""
        experiment = self._experiments.pop(trial.trial_id, None)
        if experiment is not None:
            experiment.end()

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """End those of trials that were cut short."""
        for trial in trials:
            self.log_trial_end(trial)


def _comet() -> Any:
    # Else it replaces methods of every library that it finds.
    os.environ.setdefault("COMET_DISABLE_AUTO_LOGGING", "1")
    try:
        import comet_ml  # noqa: PLC0415 - optional
        import comet_ml.config  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("CometLoggerCallback needs Comet: pip install comet_ml") from error
    return comet_ml
