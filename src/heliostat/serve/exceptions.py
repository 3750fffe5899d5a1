"""The errors that Serve's callers may catch.

It knows nothing of HTTP: which status an error becomes is decided in `_proxy.py`.
"""

from __future__ import annotations

from typing import Any

from heliostat.exceptions import RayError


class RayServeException(RayError):
    """The root of Serve's errors."""


class BackPressureError(RayServeException):
    """More requests wait than `max_queued_requests` allows."""

    status_code = 503  # for clients of HTTP; `backpressure_config` has others
    retry_after_s: float | None = 1.0


class DeploymentUnavailableError(RayServeException):
    """The deployment was deleted, or could not be deployed."""


class RequestCancelledError(RayServeException):
    """The request was cancelled by `DeploymentResponse.cancel()`."""


class ReplicaUnavailableError(RayServeException):
    """There was a replica, but it cannot be reached."""


class ReplicaClosedError(RayServeException):
    """The replica had finished and takes no request any more; callers go to another by themselves."""


class gRPCStatusError(RayServeException):
    """Raise it in a deployment: the gRPC client gets this status instead of INTERNAL.

    Args:
        original_exception: What went wrong.
        code: A `grpc.StatusCode`; None for INTERNAL.
        details: What the client is told; the exception's text if None.
    """

    def __init__(
        self, original_exception: BaseException, code: Any = None, details: str | None = None
    ) -> None:
        super().__init__(str(original_exception))
        self.original_exception = original_exception
        self.grpc_code = code
        self.grpc_details = details

    def __reduce__(self) -> Any:
        return type(self), (self.original_exception, self.grpc_code, self.grpc_details)


class ExternalScalerDisabledError(RayServeException):
    """Replicas were to be scaled from outside, where the application was run without that."""


class DeployFailedError(RayServeException, RuntimeError):
    """`serve.run` could not bring an application up; holds the replica's traceback."""


class PortTakenError(OSError):
    """Somebody else listens on the port; the message says who, where that can be known."""
