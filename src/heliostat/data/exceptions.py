"""Errors of executions, by Ray's names; what a user's function raises is told as by any task."""

from heliostat.exceptions import UserCodeException

__all__ = ["ExecutionTimeoutError", "RayDataUserCodeException", "SystemException"]


class ExecutionTimeoutError(Exception):
    """None of the tasks of an execution has ended for `execution_no_progress_timeout_s`."""


class RayDataUserCodeException(UserCodeException):
    """Raised by clusters only: a function of the user's failed. Here it is a RayTaskError."""


class SystemException(Exception):
    """Raised by clusters only: the fault is not the user's."""
