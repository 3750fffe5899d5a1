"""Trainable: what is trained step by step. Subclass it; a trial makes one and calls its steps.

It knows the trial it is in, if it is in one, and nothing of others.
"""

import copy
import json
import os
import pickle
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliostat._late import late
from heliostat.train import Checkpoint
from heliostat.tune._resources import PlacementGroupFactory

if TYPE_CHECKING:
    from heliostat.tune.function_trainable import FunctionTrainable, wrap_function
    from heliostat.tune.session import Session

__all__ = ["FunctionTrainable", "Trainable", "wrap_function"]

_DICT_FILE = "checkpoint_dict.pkl"
_LOCALHOST = "127.0.0.1"


class Trainable:
    """Something that is trained step by step; subclass it, and override `setup` and `step`.

    Args:
        config: The configuration of the trial.
        storage: Not offered: a trial's directory is the study's business.

    Raises:
        NotImplementedError: `storage` is given.

    Attributes:
        config: The configuration of the trial.
        iteration: How many steps were made.

    Example:
        >>> class Count(Trainable):
        ...     def setup(self, config):
        ...         self.x = config["start"]
        ...     def step(self):
        ...         self.x += 1
        ...         return {"x": self.x}
        >>> Count({"start": 3}).train()["x"]
        4
    """

    iteration: int
    # Set before setup() in a trial.
    _session: "Session | None" = None

    def __init__(self, config: dict[str, Any] | None = None, storage: Any = None) -> None:
        _refuse(storage)
        self.config = config or {}
        self._begin()
        self.setup(copy.deepcopy(self.config))

    def _begin(self) -> None:
        self.iteration = 0
        self._time_total_s = 0.0
        self._iterations_here = 0
        self._started = self._last = time.monotonic()

    def setup(self, config: dict[str, Any]) -> None:
        """Get ready; called once, before the first step."""

    def step(self) -> dict[str, Any]:
        """Train for a while.

        Returns:
            Metrics; with `done=True` among them the trial ends.
        """
        raise NotImplementedError(f"{type(self).__name__} must override step()")

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Save the state into a directory, or return it as a dict."""
        raise NotImplementedError(
            f"{type(self).__name__} must override save_checkpoint() to be saved"
        )

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Take up the state that `save_checkpoint` saved: its directory, or its dict."""
        raise NotImplementedError(
            f"{type(self).__name__} must override load_checkpoint() to be restored"
        )

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial without being made anew, for `TuneConfig(reuse_actors=True)`.

        Args:
            new_config: The configuration of the next trial.

        Returns:
            Whether it has; False makes a new one.
        """
        return False

    def reset(self, new_config: dict[str, Any], storage: Any = None) -> bool:
        """Begin anew with another configuration, if `reset_config` can.

        Args:
            new_config: The configuration of the next trial.
            storage: Not offered.

        Returns:
            Whether it has.

        Raises:
            NotImplementedError: `storage` is given.
        """
        _refuse(storage)
        if not self.reset_config(new_config):
            return False
        self.config = new_config
        self._begin()
        return True

    def log_result(self, result: dict[str, Any]) -> None:
        """Called with each result, for loggers of one's own."""

    def export_model(
        self, export_formats: list[str] | str, export_dir: str | None = None
    ) -> dict[str, str]:
        """Export the model.

        Args:
            export_formats: The formats wanted.
            export_dir: Where to; the trial's directory if None.

        Returns:
            A path for each format that was exported.
        """
        return {}

    def cleanup(self) -> None:
        """Let go of what `setup` took; called once, at the end."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory | None:
        """What a trial with this config needs; None for one CPU."""
        return None

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """A hint for people, when a trial with this config cannot get its resources."""
        return ""

    @property
    def trial_resources(self) -> PlacementGroupFactory | None:
        """What the trial was admitted for, in bundles; None outside a trial."""
        if self._session is None:
            return None
        return PlacementGroupFactory([dict(self._session.order.resources)])

    @property
    def training_iteration(self) -> int:
        """How many steps were made."""
        return self.iteration

    @property
    def trial_id(self) -> str:
        """The trial's id."""
        return "default" if self._session is None else self._session.order.trial_id

    @property
    def trial_name(self) -> str:
        """The trial's name."""
        return "default" if self._session is None else self._session.order.trial_name

    @property
    def logdir(self) -> str | None:
        """The trial's directory."""
        return None if self._session is None else self._session.order.path

    def train(self) -> dict[str, Any]:
        """Make one step and count it.

        Returns:
            What the step returned; called by hand, with all that a trial's report carries.

        Raises:
            TypeError: The step returned something else than a dict.
        """
        began = time.monotonic()
        result = self.step()
        if not isinstance(result, Mapping):
            raise TypeError(f"{type(self).__name__}.step() must return a dict, got {result!r}")
        self.iteration += 1
        self._iterations_here += 1
        self.log_result(dict(result))
        if self._session is not None:  # which adds the rest itself
            return {"training_iteration": self.iteration, **result}
        added = self.get_auto_filled_metrics(time_this_iter=time.monotonic() - began)
        return {**added, "done": False, **result}

    def train_buffered(
        self, buffer_time_s: float, max_buffer_length: int = 1000
    ) -> list[dict[str, Any]]:
        """Make steps for a while.

        Args:
            buffer_time_s: For so long; one step at least.
            max_buffer_length: At most so many.

        Returns:
            The results; it ends early with one that is done or asks for a checkpoint.
        """
        results: list[dict[str, Any]] = []
        until = time.monotonic() + buffer_time_s
        while True:
            results.append(self.train())
            last = results[-1]
            full = len(results) >= max_buffer_length or time.monotonic() >= until
            if full or last.get("done") or last.get("should_checkpoint"):
                return results

    def get_auto_filled_metrics(
        self,
        now: Any = None,
        time_this_iter: float | None = None,
        timestamp: int | None = None,
        debug_metrics_only: bool = False,
    ) -> dict[str, Any]:
        """What every report carries besides the step's own metrics.

        Args:
            now: A datetime to take instead of the present.
            time_this_iter: How long the last step took.
            timestamp: Seconds since the epoch to take instead of the present.
            debug_metrics_only: Only what does not change from step to step.

        Returns:
            Names and values.
        """
        moment = time.time() if now is None else now.timestamp()
        metrics: dict[str, Any] = {
            "trial_id": self.trial_id,
            "date": time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(moment)),
            "timestamp": int(moment) if timestamp is None else timestamp,
            "pid": os.getpid(),
            "hostname": os.uname().nodename,
            "node_ip": _LOCALHOST,
            "config": self.config,
        }
        if time_this_iter is not None:
            metrics["time_this_iter_s"] = time_this_iter
        if debug_metrics_only:
            return metrics
        here = time.monotonic() - self._started
        return {
            **metrics,
            "training_iteration": self.iteration,
            "time_since_restore": here,
            "time_total_s": self._time_total_s + here,
            "iterations_since_restore": self._iterations_here,
        }

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return self.config

    def get_state(self) -> dict[str, Any]:
        """How far it is; saved beside each checkpoint."""
        here = time.monotonic() - self._started
        return {"iteration": self.iteration, "time_total_s": self._time_total_s + here}

    def get_current_ip_pid(self) -> tuple[str, int]:
        """The address of the machine and the process."""
        return _LOCALHOST, os.getpid()

    def is_actor(self) -> bool:
        """Whether it runs in a trial's process."""
        return self._session is not None

    def save(self, checkpoint_dir: str | None = None) -> Checkpoint:
        """Save the state.

        Args:
            checkpoint_dir: Where to; a new temporary directory if None.

        Returns:
            The checkpoint.
        """
        path = checkpoint_dir or tempfile.mkdtemp(prefix="checkpoint_")
        state = self.save_checkpoint(path)
        if isinstance(state, dict):
            Path(path, _DICT_FILE).write_bytes(pickle.dumps(state))
        Path(path, ".iteration").write_text(json.dumps(self.get_state()))
        return Checkpoint(path)

    def restore(self, checkpoint_path: str | os.PathLike[str] | Checkpoint) -> None:
        """Take up a state that `save` saved.

        Args:
            checkpoint_path: The checkpoint, or its directory.
        """
        path = Path(checkpoint_path)
        state = json.loads(Path(path, ".iteration").read_text())
        self.iteration, self._time_total_s = state["iteration"], state["time_total_s"]
        self._started, self._iterations_here = time.monotonic(), 0
        saved = Path(path, _DICT_FILE)
        self.load_checkpoint(pickle.loads(saved.read_bytes()) if saved.exists() else str(path))

    def stop(self) -> None:
        """End it: `cleanup` is called."""
        self.cleanup()


def _refuse(storage: Any) -> None:
    if storage is not None:
        raise NotImplementedError(
            f"storage={storage!r} is not offered: where a trial writes is said by RunConfig"
        )


if not TYPE_CHECKING:  # they are made of this module
    _WRAPPING = "tune.function_trainable"
    __getattr__, __dir__ = late(
        globals(), {"FunctionTrainable": _WRAPPING, "wrap_function": _WRAPPING}, ()
    )
