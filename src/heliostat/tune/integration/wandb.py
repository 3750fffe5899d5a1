"""Weights & Biases: a callback that keeps a study there, and a run for the code of trials and ranks."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heliostat.tune._metrics import flatten
from heliostat.tune._trial import Trial
from heliostat.tune.integration import _caller
from heliostat.tune.logger import LoggerCallback

__all__ = ["WandbLoggerCallback", "setup_wandb"]

# The same in each report of a trial: part of its config there.
_FACTS = ("trial_id", "experiment_tag", "node_ip", "hostname", "pid", "date")
_LEFT_OUT = frozenset({*_FACTS, "done", "timestamp", "checkpoint_dir_name", "config"})


class WandbLoggerCallback(LoggerCallback):
    """Keeps each trial of a study as a run of Weights & Biases.

    Runs have the trial's id and name; one that goes on after a failure or a restore is the same run.
    The API key is not written down with the study: to restore it, have it in `WANDB_API_KEY`.

    Args:
        project: The project; that of `WANDB_PROJECT` if None.
        group: The runs' group; the trainable's name if None.
        api_key_file: A file with the API key.
        api_key: The API key; else what `wandb login` has stored.
        excludes: Metrics and parts of the config that are not sent.
        log_config: Send the config with each report, too: population based training changes it.
        upload_checkpoints: Send checkpoints as artifacts.
        save_checkpoints: Ray's older name of `upload_checkpoints`.
        upload_timeout: At the study's end, wait so many seconds for what is still to be sent.
        video_kwargs: For `wandb.Video`, of arrays with five dimensions.
        image_kwargs: For `wandb.Image`, of arrays with three or four dimensions.
        kwargs: For `wandb.init`, such as `mode="offline"`, `entity` or `tags`.

    Raises:
        ImportError: wandb is not installed.
        ValueError: There is no project, or two API keys.

    Example:
        >>> callbacks = [WandbLoggerCallback(project="speeds")]  # doctest: +SKIP
    """

    def __init__(
        self,
        project: str | None = None,
        group: str | None = None,
        api_key_file: str | None = None,
        api_key: str | None = None,
        excludes: list[str] | None = None,
        log_config: bool = False,
        upload_checkpoints: bool = False,
        save_checkpoints: bool = False,
        upload_timeout: float = 1800,
        video_kwargs: dict[str, Any] | None = None,
        image_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _wandb()
        self._project = project or os.environ.get("WANDB_PROJECT")
        if not self._project:
            raise ValueError(
                "WandbLoggerCallback needs project=, or WANDB_PROJECT in the environment"
            )
        self._key = _read_key(api_key, api_key_file)
        self._group = group
        self._excludes = frozenset(excludes or ())
        self._config = log_config
        self._checkpoints = upload_checkpoints or save_checkpoints
        self._timeout_s = upload_timeout
        self._video, self._image = dict(video_kwargs or {}), dict(image_kwargs or {})
        self._kwargs = kwargs
        self._runs: dict[str, Any] = {}
        self._finishing: list[threading.Thread] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runs": {}, "_finishing": [], "_key": None}

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Make the key known to wandb."""
        _set_key(self._key)

    def log_trial_start(self, trial: Trial) -> None:
        """Begin a run, or go on with it."""
        if trial.trial_id in self._runs:
            return
        given = {
            "id": trial.trial_id,
            "name": str(trial),
            "resume": "allow",
            "project": self._project,
            "group": self._group or trial.trainable_name,
            "config": self._without(trial.config),
            "reinit": "create_new",
            **self._kwargs,
        }
        self._runs[trial.trial_id] = _wandb().init(**given)

    def _without(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in config.items() if name not in self._excludes}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Send a report."""
        run = self._runs[trial.trial_id]
        facts = {name: result[name] for name in _FACTS if name in result}
        run.config.update(self._without(facts), allow_val_change=True)
        sent = {**result, "config": trial.config} if self._config else result
        left_out = _LEFT_OUT - {"config"} if self._config else _LEFT_OUT
        run.log(
            {
                name: self._shown(value)
                for name, value in flatten(sent).items()
                if name not in left_out and not self._excludes & {name, name.partition("/")[0]}
            }
        )

    def _shown(self, value: Any) -> Any:
        """Arrays that are pictures as pictures; anything else as wandb takes it."""
        dimensions = getattr(value, "ndim", 0)
        if dimensions == 5:  # many of them, frame by frame
            return _wandb().Video(value, **self._video)
        if dimensions == 4:
            return [_wandb().Image(one, **self._image) for one in value]
        return _wandb().Image(value, **self._image) if dimensions == 3 else value

    def log_trial_save(self, trial: Trial) -> None:
        """Send the checkpoint, if that was asked for."""
        if not self._checkpoints or trial.checkpoint is None or trial.trial_id not in self._runs:
            return
        artifact = _wandb().Artifact(name=f"checkpoint_{trial}", type="model")
        with trial.checkpoint.as_directory() as directory:
            artifact.add_dir(directory)
        self._runs[trial.trial_id].log_artifact(artifact)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """End the run; what is still to be sent does not hold up the study."""
        run = self._runs.pop(trial.trial_id, None)
        if run is not None:
            given = {"exit_code": int(failed)}
            thread = threading.Thread(target=run.finish, kwargs=given, daemon=True)
            thread.start()
            self._finishing.append(thread)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Wait for what is still to be sent."""
        deadline = time.monotonic() + self._timeout_s
        for trial in trials:
            self.log_trial_end(trial, failed=trial.error is not None)
        for thread in self._finishing:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = sum(thread.is_alive() for thread in self._finishing)
        self._finishing.clear()
        if late:
            sys.stderr.write(
                f"wandb is still sending {late} runs after {self._timeout_s:g} s; "
                "`wandb sync` sends what is missing\n"
            )


def setup_wandb(
    config: Mapping[str, Any] | None = None,
    api_key: str | None = None,
    api_key_file: str | None = None,
    rank_zero_only: bool = True,
    **kwargs: Any,
) -> Any:
    """Begin a run of Weights & Biases in the code of a trial or a rank.

    Args:
        config: Kept as the run's config. Under `wandb` it may have arguments of this function.
        api_key: The API key; else what `wandb login` has stored.
        api_key_file: A file with the API key.
        rank_zero_only: Only the first rank of a training begins a run.
        kwargs: For `wandb.init`; they go before the trial's id as the run's, its name, and the study's
            name as the group.

    Returns:
        The run; on other ranks one that does nothing.

    Raises:
        ImportError: wandb is not installed.
        ValueError: Two API keys.

    Example:
        >>> def trial(config):
        ...     run = setup_wandb(config, project="speeds")
        ...     run.log({"loss": config["x"]})
    """
    wandb, caller = _wandb(), _caller.find()
    if rank_zero_only and caller.rank != 0:
        return wandb.init(mode="disabled", reinit="create_new")
    kept = dict(config or {})
    more = dict(kept.pop("wandb", None) or {})
    key = _read_key(
        api_key or more.pop("api_key", None), api_key_file or more.pop("api_key_file", None)
    )
    _set_key(key)
    named = {
        "id": caller.trial_id,
        "name": caller.trial_name,
        "group": caller.experiment_name,
        "resume": "allow" if caller.trial_id else None,
    }
    return wandb.init(**{"config": kept, "reinit": "create_new", **named, **more, **kwargs})


def _read_key(key: str | None, file: str | None) -> str | None:
    if key is not None and file is not None:
        raise ValueError("api_key and api_key_file are the same thing twice; give one of them")
    return Path(file).expanduser().read_text("utf-8").strip() if file is not None else key


def _set_key(key: str | None) -> None:
    if key is not None:
        os.environ["WANDB_API_KEY"] = key


def _wandb() -> Any:
    try:
        import wandb  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("Weights & Biases is needed here: pip install wandb") from error
    return wandb
