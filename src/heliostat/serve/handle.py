"""DeploymentHandle and what its calls give, DeploymentResponse and its Generator: how Python code calls a deployment.

They know names and a Dispatch; which replica answers is the Router's choice.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, NoReturn

import heliostat as ray
from heliostat.serve._call import Call, Reservation, Sender
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

    @property
    def by_reference(self) -> bool:
        """Always True: answers travel as Core's objects, and large ones are not copied."""
        return True

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

    async def _to_object_ref(self) -> ray.ObjectRef[Any]:
        """The reference to the answer, as soon as the call is on its way."""
        await asyncio.wrap_future(self._call.ready())
        return self._reference()

    def _to_object_ref_sync(
        self, _timeout_s: float | None = None, _allow_running_in_asyncio_loop: bool = False
    ) -> ray.ObjectRef[Any]:
        if _in_event_loop() and not _allow_running_in_asyncio_loop:
            raise RuntimeError("this would block the event loop; use `await _to_object_ref()`")
        try:
            self._call.ready().result(_timeout_s)
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"no replica within {_timeout_s} s") from None
        return self._reference()

    def _reference(self) -> ray.ObjectRef[Any]:
        if self._call.error is not None:
            raise self._call.error
        if not isinstance(self._call.ref, ray.ObjectRef):
            raise RuntimeError("in local testing mode there are no references; use .result()")
        return self._call.ref

    def __await__(self) -> Generator[Any, None, Any]:
        # A generator, which keeps the response: `await handle.remote()` has no other reference.
        return (yield from self._dispatch.answer_async(self._call).__await__())

    def __iter__(self) -> NoReturn:
        """Always raises: there is one answer."""
        raise TypeError(
            "a DeploymentResponse is one answer; for the items of a generator, as they come, call "
            "it with handle.options(stream=True)"
        )

    __aiter__ = __iter__


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


class DeploymentBroadcastResponse:
    """The answers of all replicas to one call: `handle.broadcast(...)`."""

    def __init__(self, sent: concurrent.futures.Future[list[Call]], dispatch: Sender) -> None:
        self._sent = sent
        self._dispatch = dispatch

    def results(
        self, *, timeout_s: float | None = None, return_exceptions: bool = False
    ) -> list[Any]:
        """Wait for all of them, in no particular order.

        Args:
            timeout_s: How long at most; None waits for ever.
            return_exceptions: Put what a replica raised in the place of its answer.

        Returns:
            One for each replica that ran when the call was made.

        Raises:
            DeploymentUnavailableError: When there was none.
            RuntimeError: In an event loop; use `await response.results_async()`.
            TimeoutError: When some are not there in time.
            RayTaskError: What the method raised first, as for `DeploymentResponse.result`.
        """
        if _in_event_loop():
            raise RuntimeError("this would block the event loop; use `await results_async()`")
        deadline = None if timeout_s is None else time.monotonic() + _not_negative(timeout_s)

        def left_s() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        try:
            calls = self._sent.result(left_s())
        except concurrent.futures.TimeoutError:
            raise TimeoutError(f"no replicas were known after {timeout_s} s") from None
        answers = []
        for call in calls:
            try:
                answers.append(self._dispatch.answer(call, left_s()))
            except TimeoutError:
                raise
            except Exception as error:
                if not return_exceptions:
                    raise
                answers.append(error)
        return answers

    async def results_async(
        self, *, timeout_s: float | None = None, return_exceptions: bool = False
    ) -> list[Any]:
        """As `results`, in an event loop."""
        if timeout_s is not None:
            _not_negative(timeout_s)
        async with asyncio.timeout(timeout_s):
            calls = await asyncio.shield(asyncio.wrap_future(self._sent))
            answers = (self._dispatch.answer_async(call) for call in calls)
            return list(await asyncio.gather(*answers, return_exceptions=return_exceptions))

    def __repr__(self) -> str:
        return "DeploymentBroadcastResponse()"


class ReplicaSelection:
    """A replica that `handle.choose_replica()` has chosen, with a place kept on it."""

    def __init__(self, reservation: Reservation, handle: DeploymentHandle) -> None:
        self._reservation = reservation
        self._handle = handle

    @property
    def replica_id(self) -> str:
        """The replica's unique name."""
        return self._reservation.replica

    def __repr__(self) -> str:
        return f"ReplicaSelection({self.replica_id})"


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
        self._session_id = ""

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
        call = self._call(args, kwargs)
        family = current_children()
        if family is not None:
            family.add(call)
            call.family = family
        _link(call)
        (self._dispatch.send_after if call.after else self._dispatch.send)(call)
        return (DeploymentResponseGenerator if self._stream else DeploymentResponse)(
            call, self._dispatch
        )

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        context = current_request()
        if self._model_id:
            context = context._replace(multiplexed_model_id=self._model_id)
        call = Call(self._method, context, args, kwargs, self._stream)
        if self._session_id:
            call.session_id = self._session_id
        return call

    def _sender(self) -> Sender:
        if self._dispatch is None:
            self._dispatch = dispatch_to(self.app_name, self.deployment_name)
        return self._dispatch

    def broadcast(self, method_name: str, *args: Any, **kwargs: Any) -> DeploymentBroadcastResponse:
        """Call a method of every replica that runs now, whatever each is busy with.

        Args:
            method_name: The method.
            *args: For it.
            **kwargs: The same by name.

        Returns:
            All answers: `.results()`, or `await .results_async()`.

        Raises:
            RayServeException: When Serve does not run.

        Example:
            >>> from heliostat import serve
            >>> @serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0})
            ... class Cache:
            ...     def clear(self): return "cleared"
            >>> handle = serve.run(Cache.bind(), route_prefix=None)
            >>> handle.broadcast("clear").results()
            ['cleared', 'cleared']
            >>> serve.shutdown()
        """
        sender, method = self._sender(), self.options(method_name=method_name, stream=False)
        first = method._call(args, kwargs)
        _link(first)

        def make() -> Call:
            call = Call(first.method, first.context, first.args, first.kwargs)
            call.after = first.after
            return call

        return DeploymentBroadcastResponse(sender.broadcast(make), sender)

    @contextlib.asynccontextmanager
    async def choose_replica(self, *args: Any, **kwargs: Any) -> AsyncIterator[ReplicaSelection]:
        """Choose a replica, and keep a place on it, before the call is made.

        Args:
            *args: What a router of your own may look at.
            **kwargs: The same by name.

        Returns:
            An async context manager, which gives what `dispatch` takes. A place that no call has
            taken is free again at its end.

        Example:
            >>> import asyncio
            >>> from heliostat import serve
            >>> @serve.deployment
            ... class Doubler:
            ...     def double(self, x): return 2 * x
            >>> handle = serve.run(Doubler.bind(), route_prefix=None)
            >>> async def main():
            ...     async with handle.double.choose_replica() as selection:
            ...         return await handle.dispatch(selection, 4)
            >>> asyncio.run(main())
            8
            >>> serve.shutdown()
        """
        sender = self._sender()
        reservation = Reservation(self._call(args, kwargs))
        await sender.reserve(reservation)
        try:
            yield ReplicaSelection(reservation, self)
        finally:
            sender.release(reservation)

    def dispatch(self, selection: ReplicaSelection, *args: Any, **kwargs: Any) -> Any:
        """Call the replica that was chosen, the method that it was chosen for; once.

        Args:
            selection: What `choose_replica` gave.
            *args: For the method.
            **kwargs: The same by name.

        Returns:
            A DeploymentResponse, or DeploymentResponseGenerator, as of `remote`.

        Raises:
            ReplicaUnavailableError: When the replica has gone meanwhile.
            ValueError: For a selection of another deployment.
        """
        chosen = selection._handle
        if (chosen.app_name, chosen.deployment_name) != (self.app_name, self.deployment_name):
            raise ValueError(f"{selection!r} was chosen of {chosen!r}, and this is {self!r}")
        sender, call = chosen._sender(), chosen._call(args, kwargs)
        _link(call)
        sender.send_reserved(call, selection._reservation)
        return (DeploymentResponseGenerator if call.is_stream else DeploymentResponse)(call, sender)

    @property
    def is_initialized(self) -> bool:
        """Whether it has looked for its deployment: the first call does."""
        return self._dispatch is not None

    def running_replicas_populated(self) -> bool:
        """Whether it knows a replica that runs."""
        return bool(getattr(self._dispatch, "has_replicas", self._dispatch is not None))

    def shutdown(self) -> None:
        """Let go of what the handle knows; the next call looks for the deployment again."""
        self._dispatch = None
        for name, method in list(self.__dict__.items()):
            if isinstance(method, DeploymentHandle):
                del self.__dict__[name]

    async def shutdown_async(self) -> None:
        """As `shutdown`."""
        self.shutdown()

    def options(
        self,
        *,
        method_name: str | None = None,
        stream: bool | None = None,
        multiplexed_model_id: str | None = None,
        session_id: str | None = None,
        **others: Any,
    ) -> DeploymentHandle:
        """A copy that calls another method, or in another way.

        Args:
            method_name: The method to call.
            stream: The method is a generator, whose items are wanted as they come.
            multiplexed_model_id: The model that the calls are for (`serve.multiplexed`): they go
                to a replica that has it, if one is free.
            session_id: What a router may keep on one replica, such as
                `serve.experimental.consistent_hash_router.ConsistentHashRouter`.
            **others: Of Ray's, `_prefer_local_routing` (all replicas are local), `_by_reference=True`,
                and "cloudpickle" or "pickle" as `request_serialization` and
                `response_serialization`, change nothing here.

        Raises:
            NotImplementedError: For other values of these.
            TypeError: For a value of the wrong kind, and for other options.
        """
        _check_others(others)
        if session_id is not None and not isinstance(session_id, str):
            raise TypeError(f"session_id must be a string, got {session_id!r}")
        if multiplexed_model_id is not None and not isinstance(multiplexed_model_id, str):
            raise TypeError(f"multiplexed_model_id must be a string, got {multiplexed_model_id!r}")
        if method_name is not None and not isinstance(method_name, str):
            raise TypeError(f"method_name must be a string, got {method_name!r}")
        if stream is not None and not isinstance(stream, bool):
            raise TypeError(f"stream must be True or False, got {stream!r}")
        changed = DeploymentHandle(
            self.deployment_name, self.app_name, method_name or self._method, self._dispatch
        )
        changed._stream = self._stream if stream is None else stream
        changed._model_id = self._model_id if multiplexed_model_id is None else multiplexed_model_id
        changed._session_id = self._session_id if session_id is None else session_id
        return changed

    def __getattr__(self, name: str) -> DeploymentHandle:
        if name.startswith("_"):
            raise AttributeError(f"a DeploymentHandle has no {name!r}")
        method = self.options(method_name=name)
        self.__dict__[name] = method  # found without this function the next time
        return method

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Always raises: calls go to replicas, by `remote`."""
        what = f"handle.{self._method}" if self._method != "__call__" else "handle"
        raise TypeError(
            f"a handle is not called directly; use {what}.remote(...), whose answer comes by "
            f"await or .result() (deployment {self.deployment_name!r})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeploymentHandle) and self._names() == other._names()

    def __hash__(self) -> int:
        return hash(self._names())

    def __repr__(self) -> str:
        return f"DeploymentHandle(deployment={self.deployment_name!r}, app={self.app_name!r})"

    def __reduce__(self) -> Any:
        return _restored, self._names()

    def _names(self) -> tuple[str, str, str, bool, str, str]:
        names = self.deployment_name, self.app_name, self._method
        return *names, self._stream, self._model_id, self._session_id


def _restored(
    deployment: str, app: str, method: str, stream: bool, model_id: str, session_id: str
) -> DeploymentHandle:
    plain = DeploymentHandle(deployment, app, method)
    return plain.options(stream=stream, multiplexed_model_id=model_id, session_id=session_id)


# Options of Ray's whose values here all mean what is done anyway.
_SAME: dict[str, tuple[Any, ...]] = {
    "_prefer_local_routing": (True, False),
    "_by_reference": (True,),
    "request_serialization": ("cloudpickle", "pickle"),
    "response_serialization": ("cloudpickle", "pickle"),
}


def _check_others(others: dict[str, Any]) -> None:
    for name, value in others.items():
        if name not in _SAME:
            raise TypeError(f"a handle has no option {name!r}")
        if value not in _SAME[name]:
            taken = " or ".join(map(repr, _SAME[name]))
            raise NotImplementedError(
                f"a handle's option {name}={value!r} is not offered: values travel as Core's "
                f"objects; leave it out, or say {taken}"
            )


def _not_negative(timeout_s: float) -> float:
    if timeout_s < 0:
        raise ValueError(f"timeout_s must be None or >= 0, got {timeout_s}")
    return timeout_s


def _link(call: Call) -> None:
    """Let the call wait until all responses among its arguments are on their way.

    They go as references: their values do not pass through this process.

    Raises:
        TypeError: For a stream.
    """
    for value in (*call.args, *call.kwargs.values()):
        if isinstance(value, _Response):
            break
    else:
        return
    values = (*call.args, *call.kwargs.values())
    if any(isinstance(value, DeploymentResponseGenerator) for value in values):
        raise TypeError("a stream cannot be an argument; take its items first")
    call.after = tuple(value._call for value in values if isinstance(value, DeploymentResponse))
    call.args = tuple(_in_its_place(value) for value in call.args)
    call.kwargs = {key: _in_its_place(value) for key, value in call.kwargs.items()}


def _in_its_place(value: Any) -> Any:
    return value._call if isinstance(value, DeploymentResponse) else value


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return not in_notebook()  # where every cell blocks the loop of the kernel
