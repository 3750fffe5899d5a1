"""Errors that `trainer.fit()` raises.

The tree::

    TrainingFailedError
      WorkerGroupError      one or more ranks failed; `.worker_failures` says which
      ControllerError       something around the ranks failed: starting them, data, storage

A Result that was read back from disk carries a plain TrainingFailedError with the text.
"""

from __future__ import annotations

from heliostat.exceptions import RayError

__all__ = ["ControllerError", "TrainingFailedError", "WorkerGroupError"]


class TrainingFailedError(RayError, RuntimeError):
    """Training did not come to its end."""


class WorkerGroupError(TrainingFailedError):
    """One or more ranks failed.

    Args:
        error_message: What happened, naming the rank that failed first.
        worker_failures: World rank to the exception that ended it, the culprit first.

    Example:
        >>> error = WorkerGroupError("rank 1 failed", {1: ValueError("no")})
        >>> error.worker_failures[1]
        ValueError('no')
    """

    def __init__(self, error_message: str, worker_failures: dict[int, Exception]) -> None:
        super().__init__(error_message, worker_failures)
        self.worker_failures = worker_failures

    def __str__(self) -> str:
        return str(self.args[0])


class ControllerError(TrainingFailedError):
    """The ranks could not be started, fed, or their checkpoints stored.

    Args:
        controller_failure: The exception behind it.

    Example:
        >>> str(ControllerError(OSError("disk full")))
        'training could not go on: OSError: disk full'
    """

    def __init__(self, controller_failure: Exception) -> None:
        super().__init__(controller_failure)
        self.controller_failure = controller_failure
        self.__cause__ = controller_failure

    def __str__(self) -> str:
        failure = self.controller_failure
        return f"training could not go on: {type(failure).__name__}: {failure}"
