"""Errors that `trainer.fit()` raises.

The tree::

    TrainingFailedError
      WorkerGroupError      one or more ranks failed; `.worker_failures` says which
        NCCLHangError       never raised here, nor is PreemptionError
      PreemptionError
      ControllerError       something around the ranks failed: starting them, data, storage

SessionMisuseError is about a call, not a training: it was made where no loop runs.

A Result that was read back from disk carries a plain TrainingFailedError with the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heliostat.exceptions import RayError, RayTaskError

if TYPE_CHECKING:
    from heliostat.train.preemption import PreemptionInfo

__all__ = [
    "ControllerError",
    "NCCLHangError",
    "PreemptionError",
    "SessionMisuseError",
    "TrainingFailedError",
    "WorkerGroupError",
]


class TrainingFailedError(RayError, RuntimeError):
    """Training did not come to its end."""


class WorkerGroupError(TrainingFailedError):
    """One or more ranks failed.

    Args:
        error_message: What happened, naming the rank that failed first.
        worker_failures: World rank to the exception that ended it, the culprit first. Of one that
            came from another process, `worker_failures` has what the loop itself raised.

    Example:
        >>> error = WorkerGroupError("rank 1 failed", {1: ValueError("no")})
        >>> error.worker_failures[1]
        ValueError('no')
    """

    def __init__(self, error_message: str, worker_failures: dict[int, Exception]) -> None:
        super().__init__(error_message, worker_failures)
        self.worker_failures = {rank: _raised(e) for rank, e in worker_failures.items()}

    def __str__(self) -> str:
        return str(self.args[0])


class NCCLHangError(WorkerGroupError):
    """For code that catches it: NCCL's own watchdog ends ranks that hang here."""


class PreemptionError(TrainingFailedError):
    """For code that catches it: the one machine there is is never taken away.

    Args:
        preemption_info: Which nodes were taken away.
        drain_timed_out: Whether ranks were still at work then.
    """

    def __init__(self, preemption_info: PreemptionInfo, drain_timed_out: bool = False) -> None:
        super().__init__(preemption_info, drain_timed_out)
        self.preemption_info = preemption_info
        self.drain_timed_out = drain_timed_out

    def __str__(self) -> str:
        ranks = self.preemption_info.preempted_ranks
        return f"the nodes of ranks {ranks} were taken away"


class SessionMisuseError(RuntimeError):
    """What means something in a training loop only was called outside of one."""


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


def _raised(error: Exception) -> Exception:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return cause if isinstance(cause, Exception) else error
