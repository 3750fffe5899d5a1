"""DeploymentHandle and what its calls give, DeploymentResponse and its Generator: how Python code calls a deployment.

They know names and a Dispatch; which replica answers is the Router's choice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, NoReturn

from heliostat.serve._call import Call, Sender
from heliostat.serve._dispatch import dispatch_to
from heliostat.serve.context import current_children, current_request
from heliostat.util.progress import in_notebook


class _Response:
    """What both kinds of answers have."""

    def __init__(self, call: Call, dispatch: Sender) -> None:
        self._call = call
        self._dispatch = dispatch

    @property
    def request_id(self) -> str:
        """The id of the request that the call belongs to."""
        return self._call.context.request_id

    def cancel(self) -> None:
        """Ask the replica to stop; the answer then is a RequestCancelledError.

        A call that waits for a replica is never sent. Methods that are `async` are cancelled, and
        with them the calls they made; a thread runs to its end.
        """
        self._call.cancel()

    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._call.is_cancelled

    def __del__(self) -> None:
        call = self._call
        if call.is_counted or call.ref is None:  # else its answer was taken
            with contextlib.suppress(Exception):  # the interpreter or the session may be ending
                self._dispatch.abandon(call)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._call.method})"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} cannot be pickled; pass it as an argument of a handle's "
            "call, or take its values first"
        )


class DeploymentResponse(_Response):
    """The answer of a call through a handle, which may not be there yet.

    In the driver and in threads: `.result()`. In `async def`: `await`. It can be an argument of
    another handle's call at once: the value arrives there.
    """

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the answer.

        Args:
            timeout_s: How long at most; None waits for ever.

        Returns:
            What the method returned.

        Raises:
            TimeoutError: When it is not there in time.
            RequestCancelledError: When it was cancelled.
            RuntimeError: In an event loop, which it would block; use `await`. Cells of a notebook
                may wait.
            RayTaskError: What the method raised; also an instance of that exception's class.
        """
        if _in_event_loop():
            raise RuntimeError(
                "DeploymentResponse.result() would block the event loop; use `await response`"
            )
        return self._dispatch.answer(self._call, timeout_s)

    def __await__(self) -> Generator[Any, None, Any]:
        # A generator, which keeps the response: `await handle.remote()` has no other reference.
        return (yield from self._dispatch.answer_async(self._call).__await__())


class DeploymentResponseGenerator(_Response):
    """The answers of a generator, as they come: `handle.options(stream=True)`.

    In the driver and in threads: `for`. In `async def`: `async for`.

    Example:
        >>> from heliostat import serve
        >>> @serve.deployment
        ... class Counter:
        ...     def count(self, n): yield from range(n)
        >>> handle = serve.run(Counter.bind(), route_prefix=None)
        >>> list(handle.options(stream=True).count.remote(3))
        [0, 1, 2]
        >>> serve.shutdown()
    """

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if _in_event_loop():
            raise RuntimeError("`for` would block the event loop; use `async for`")
        return self._dispatch.next_item(self._call)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._dispatch.next_item_async(self._call)

    def __await__(self) -> Generator[Any, None, Any]:
        raise TypeError("a stream is not awaited; use `async for item in response`")

    def result(self, timeout_s: float | None = None) -> NoReturn:
        """Always raises: a stream has many answers.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a stream has no one result; use `for item in response`")


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
        dispatch: Sender | None = None,
    ) -> None:
        self.deployment_name = deployment_name
        self.app_name = app_name
        self._method = method_name
        self._dispatch = dispatch
        self._stream = False
        self._model_id = ""

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; returns at once.

        Args:
            *args: For the method; a DeploymentResponse or ObjectRef arrives as its value.
            **kwargs: The same by name.

        Returns:
            A DeploymentResponse; a DeploymentResponseGenerator with `options(stream=True)`.

        Raises:
            RayServeException: When Serve does not run.
            TypeError: For a stream as an argument.
        """
        if self._dispatch is None:
            self._dispatch = dispatch_to(self.app_name, self.deployment_name)
        context = current_request()
        if self._model_id:
            context = context._replace(multiplexed_model_id=self._model_id)
        call = Call(self._method, context, args, kwargs, self._stream)
        family = current_children()
        if family is not None:
            family.add(call)
            call.family = family
        for value in (*args, *kwargs.values()):
            if isinstance(value, _Response):
                _send_with_responses(self._dispatch, call)
                break
        else:
            self._dispatch.send(call)
        return (DeploymentResponseGenerator if self._stream else DeploymentResponse)(
            call, self._dispatch
        )

    def options(
        self,
        *,
        method_name: str | None = None,
        stream: bool | None = None,
        multiplexed_model_id: str | None = None,
        **others: Any,
    ) -> DeploymentHandle:
        """A copy that calls another method, or in another way.

        Args:
            method_name: The method to call.
            stream: The method is a generator, whose items are wanted as they come.
            multiplexed_model_id: The model that the calls are for (`serve.multiplexed`): they go
                to a replica that has it, if one is free.

        Raises:
            NotImplementedError: For options of Ray that are not offered.
            TypeError: For a value of the wrong kind.
        """
        for name, value in others.items():
            raise NotImplementedError(f"a handle's option {name}={value!r} is not offered")
        if multiplexed_model_id is not None and not isinstance(multiplexed_model_id, str):
            raise TypeError(f"multiplexed_model_id must be a string, got {multiplexed_model_id!r}")
        changed = DeploymentHandle(
            self.deployment_name, self.app_name, method_name or self._method, self._dispatch
        )
        changed._stream = self._stream if stream is None else bool(stream)
        changed._model_id = self._model_id if multiplexed_model_id is None else multiplexed_model_id
        return changed

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
        return _restored, self._names()

    def _names(self) -> tuple[str, str, str, bool, str]:
        return self.deployment_name, self.app_name, self._method, self._stream, self._model_id


def _restored(
    deployment: str, app: str, method: str, stream: bool, model_id: str
) -> DeploymentHandle:
    plain = DeploymentHandle(deployment, app, method)
    return plain.options(stream=stream, multiplexed_model_id=model_id)


def _send_with_responses(dispatch: Sender, call: Call) -> None:
    """Send the call when all responses among its arguments are on their way.

    They go as references: their values do not pass through this process.
    """
    values = (*call.args, *call.kwargs.values())
    if any(isinstance(value, DeploymentResponseGenerator) for value in values):
        raise TypeError("a stream cannot be an argument; take its items first")
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
    return not in_notebook()  # where every cell blocks the loop of the kernel
