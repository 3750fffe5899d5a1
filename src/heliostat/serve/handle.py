"""DeploymentHandle and DeploymentResponse: how Python code calls a deployment.

They know names and a Dispatch; which replica answers is the Router's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import Any

import heliostat as ray
from heliostat.serve._dispatch import Call, Dispatch, dispatch_to
from heliostat.serve.context import current_request


class DeploymentResponse:
    """The answer of a call through a handle, which may not be there yet.

    In the driver and in threads: `.result()`. In `async def`: `await`. It can be an argument of
    another handle's call at once: the value arrives there.
    """

    def __init__(self, call: Call, dispatch: Dispatch) -> None:
        self._call = call
        self._dispatch = dispatch

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the answer.

        Args:
            timeout_s: How long at most; None waits for ever.

        Returns:
            What the method returned.

        Raises:
            TimeoutError: When it is not there in time.
            RuntimeError: In an event loop, which it would block; use `await`.
            RayTaskError: What the method raised; also an instance of that exception's class.
        """
        if _in_event_loop():
            raise RuntimeError(
                "DeploymentResponse.result() would block the event loop; use `await response`"
            )
        return self._dispatch.answer(self._call, timeout_s)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._dispatch.answer_async(self._call).__await__()

    def cancel(self) -> None:
        """Ask the replica to stop; the answer then is a RequestCancelledError."""
        if self._call.ref is not None:
            ray.cancel(self._call.ref)

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the interpreter or the session may be ending
            self._dispatch.abandon(self._call)

    def __repr__(self) -> str:
        return f"DeploymentResponse({self._call.method})"

    def __reduce__(self) -> Any:
        raise TypeError(
            "a DeploymentResponse cannot be pickled; pass it as an argument of a handle's call, "
            "or take its value with .result() or await"
        )


class DeploymentHandle:
    """Calls a deployment: `handle.remote(...)` or `handle.method.remote(...)`.

    Made by `serve.run`, `serve.get_app_handle`, or by passing an Application to `.bind()`; can be
    pickled and used in any task, actor or deployment.
    """

    def __init__(
        self,
        deployment_name: str,
        app_name: str,
        method_name: str = "__call__",
        dispatch: Dispatch | None = None,
    ) -> None:
        self.deployment_name = deployment_name
        self.app_name = app_name
        self._method = method_name
        self._dispatch = dispatch

    def remote(self, *args: Any, **kwargs: Any) -> DeploymentResponse:
        """Call it; returns at once.

        Args:
            *args: For the method; a DeploymentResponse or ObjectRef arrives as its value.
            **kwargs: The same by name.

        Returns:
            A DeploymentResponse.

        Raises:
            RayServeException: When Serve does not run.
        """
        if self._dispatch is None:
            self._dispatch = dispatch_to(self.app_name, self.deployment_name)
        call = Call(self._method, current_request(), args, kwargs)
        for value in (*args, *kwargs.values()):
            if isinstance(value, DeploymentResponse):
                _send_with_responses(self._dispatch, call)
                break
        else:
            self._dispatch.send(call)
        return DeploymentResponse(call, self._dispatch)

    def options(
        self,
        *,
        method_name: str | None = None,
        stream: bool = False,
        multiplexed_model_id: str | None = None,
        **others: Any,
    ) -> DeploymentHandle:
        """A copy that calls another method.

        Args:
            method_name: The method to call.
            stream: Not offered yet.
            multiplexed_model_id: Not offered yet.

        Raises:
            NotImplementedError: For options of Ray that are not offered yet.
        """
        if stream:
            raise NotImplementedError(
                "stream=True is not offered yet; return a list, or stream over HTTP with "
                "starlette's StreamingResponse"
            )
        if multiplexed_model_id:
            raise NotImplementedError("multiplexed_model_id is not offered yet; pass an argument")
        for name, value in others.items():
            raise NotImplementedError(f"a handle's option {name}={value!r} is not offered")
        return DeploymentHandle(
            self.deployment_name, self.app_name, method_name or self._method, self._dispatch
        )

    def __getattr__(self, name: str) -> DeploymentHandle:
        if name.startswith("_"):
            raise AttributeError(f"a DeploymentHandle has no {name!r}")
        method = self.options(method_name=name)
        self.__dict__[name] = method  # found without this function the next time
        return method

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeploymentHandle) and self._names() == other._names()

    def __hash__(self) -> int:
        return hash(self._names())

    def __repr__(self) -> str:
        return f"DeploymentHandle(deployment={self.deployment_name!r}, app={self.app_name!r})"

    def __reduce__(self) -> Any:
        return DeploymentHandle, self._names()

    def _names(self) -> tuple[str, str, str]:
        return self.deployment_name, self.app_name, self._method


def _send_with_responses(dispatch: Dispatch, call: Call) -> None:
    """Send the call when all responses among its arguments are on their way.

    They go as references: their values do not pass through this process.
    """
    values = (*call.args, *call.kwargs.values())
    call.after = tuple(value._call for value in values if isinstance(value, DeploymentResponse))

    def prepare() -> None:
        call.args = tuple(_as_argument(value) for value in call.args)
        call.kwargs = {key: _as_argument(value) for key, value in call.kwargs.items()}

    dispatch.send_after(call, prepare)


def _as_argument(value: Any) -> Any:
    if not isinstance(value, DeploymentResponse):
        return value
    if value._call.error is not None:
        raise value._call.error
    return value._call.ref


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
