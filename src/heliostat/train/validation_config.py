"""What checks checkpoints while training goes on: a function, run as a task for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from heliostat.train.checkpoint import Checkpoint

__all__ = ["ValidationConfig", "ValidationFn", "ValidationTaskConfig"]


class ValidationFn(Protocol):
    """A function of a checkpoint, and of keyword arguments, that returns metrics."""

    def __call__(self, checkpoint: Checkpoint, **kwargs: Any) -> dict[str, Any]:
        """Check the checkpoint."""
        ...


@dataclass(frozen=True)
class ValidationTaskConfig:
    """How one checkpoint is validated.

    Args:
        fn_kwargs: Keyword arguments of the function; such that JSON can hold them.
        timeout_s: The validation is cancelled after so long; never if None.

    Raises:
        TypeError: If `fn_kwargs` is not a dict.
        ValueError: If `timeout_s` is not positive.

    Example:
        >>> ValidationTaskConfig(fn_kwargs={"batches": 10}, timeout_s=60).timeout_s
        60
    """

    fn_kwargs: Mapping[str, Any] | None = None
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if self.fn_kwargs is None:
            object.__setattr__(self, "fn_kwargs", {})
        elif not isinstance(self.fn_kwargs, Mapping):
            raise TypeError(f"fn_kwargs must be a dict, got {self.fn_kwargs!r}")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, or None, got {self.timeout_s!r}")


@dataclass(frozen=True)
class ValidationConfig:
    """The function that validates checkpoints, for a trainer's `validation_config`.

    Checkpoints that are reported with `validation=...` are validated one after the other, each by
    a task. What the function returns is added to the metrics of the checkpoint.

    Args:
        fn: A function of a checkpoint and of keyword arguments, which returns a dict of metrics.
        task_config: The keyword arguments and the time-out, unless `report` says others.
        ray_remote_kwargs: Options of the task, such as `{"num_cpus": 0}`. It needs one CPU if
            nothing is said: on a machine whose CPUs the ranks all have, it waits for their end.

    Raises:
        TypeError: For an argument of the wrong type.

    Example:
        >>> config = ValidationConfig(lambda checkpoint: {"accuracy": 1.0})
        >>> config.task_config.timeout_s is None
        True
    """

    fn: ValidationFn
    task_config: ValidationTaskConfig = field(default_factory=ValidationTaskConfig)
    ray_remote_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise TypeError(f"ValidationConfig(fn=...) must be a function, got {self.fn!r}")
        # None means the default, as in Ray.
        if self.task_config is None:
            object.__setattr__(self, "task_config", ValidationTaskConfig())  # type: ignore[unreachable]
        if self.ray_remote_kwargs is None:
            object.__setattr__(self, "ray_remote_kwargs", {})  # type: ignore[unreachable]
        if not isinstance(self.task_config, ValidationTaskConfig):
            raise TypeError(f"task_config must be a ValidationTaskConfig, got {self.task_config!r}")
        if not isinstance(self.ray_remote_kwargs, Mapping):
            raise TypeError(f"ray_remote_kwargs must be a dict, got {self.ray_remote_kwargs!r}")
