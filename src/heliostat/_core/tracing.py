"""Spans of OpenTelemetry for tasks and calls of actors: `init(_tracing_startup_hook="module:function")`.

An engine between the API and the real one: it opens a span where work is asked for, sends its context
along, and has the work run in a span below it. Loaded only when asked for; otherwise nothing of it is
on the path of a call.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

from heliostat._core.engine import Engine
from heliostat._core.refs import ObjectRef
from heliostat._core.specs import ActorInfo, ActorSpec, CallSpec, Code, TaskSpec

_CARRIER = "_heliostat_trace"
Carrier = dict[str, str]


def start(hook: str, engine: Engine) -> Engine:
    """Run the program's hook, and trace what goes through this engine.

    Args:
        hook: "module:function", which sets up OpenTelemetry; run in the driver and in each worker.
        engine: The engine.

    Raises:
        ImportError: If OpenTelemetry or the hook is not there.
    """
    load(hook)()
    return cast("Engine", Traced(engine))


def load(hook: object) -> Callable[[], Any]:
    """The function that a hook names; raises as `start`, and ValueError for what names none."""
    if not isinstance(hook, str) or hook.count(":") != 1:
        raise ValueError(f'_tracing_startup_hook must be "module:function", got {hook!r}')
    try:
        importlib.import_module("opentelemetry.trace")
    except ImportError as error:
        raise ImportError(
            "tracing needs OpenTelemetry: pip install opentelemetry-api opentelemetry-sdk"
        ) from error
    module, _, name = hook.partition(":")
    try:
        return cast("Callable[[], Any]", getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise ImportError(f"_tracing_startup_hook={hook!r} cannot be imported: {error}") from error


class Traced:
    """An engine whose work is traced."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._codes: dict[bytes, Code] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def submit(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        """Run a task some time, in a span below that of the call."""
        name = spec.options.name or spec.code.name
        with _asked(name, {"ray.remote": "function", "ray.function": spec.code.name}) as carrier:
            code = self._code(spec.code, lambda: _Function(spec.code.value, spec.code.name))
            return self._engine.submit(spec._replace(code=code, args=(carrier, *spec.args)))

    def create_actor(self, spec: ActorSpec) -> tuple[ActorInfo, ObjectRef[Any]]:
        """Make an actor whose methods run in spans."""
        name = spec.code.name
        about = {"ray.remote": "actor", "ray.actor_class": name, "ray.actor_method": "__init__"}
        with _asked(f"{name}.__init__", about) as carrier:
            code = self._code(spec.code, lambda: _traced_class(cast("type", spec.code.value)))
            kwargs = {**spec.kwargs, _CARRIER: carrier}
            return self._engine.create_actor(spec._replace(code=code, kwargs=kwargs))

    def call_actor(self, spec: CallSpec) -> list[ObjectRef[Any]]:
        """Call a method, which runs in a span below that of the call."""
        if spec.method.startswith("__"):
            return self._engine.call_actor(spec)
        about = {
            "ray.remote": "actor",
            "ray.actor_method": spec.method,
            "ray.actor_id": spec.actor.hex(),
        }
        with _asked(spec.method, about) as carrier:
            return self._engine.call_actor(spec._replace(kwargs={**spec.kwargs, _CARRIER: carrier}))

    def _code(self, code: Code, make: Callable[[], Callable[..., Any]]) -> Code:
        traced = self._codes.get(code.key)
        if traced is None:
            traced = self._codes[code.key] = Code(make(), code.name)
        return traced


class _asked:
    """A span around asking for work; its context, to be sent along."""

    def __init__(self, name: str, about: dict[str, str]) -> None:
        trace = importlib.import_module("opentelemetry.trace")
        self._span = trace.get_tracer("heliostat").start_as_current_span(
            f"{name} ray.remote",
            kind=trace.SpanKind.PRODUCER,
            attributes={**about, "ray.pid": str(os.getpid())},
        )

    def __enter__(self) -> Carrier:
        self._span.__enter__()
        carrier: Carrier = {}
        importlib.import_module("opentelemetry.propagate").inject(carrier)
        return carrier

    def __exit__(self, *error: Any) -> None:
        self._span.__exit__(*error)


def _running(name: str, carrier: Carrier | None) -> Any:
    """A span around the work itself, below the one that asked for it."""
    trace = importlib.import_module("opentelemetry.trace")
    context = importlib.import_module("opentelemetry.propagate").extract(carrier or {})
    return trace.get_tracer("heliostat").start_as_current_span(
        f"{name} ray.remote_worker",
        context=context,
        kind=trace.SpanKind.CONSUMER,
        attributes={"ray.function": name, "ray.pid": str(os.getpid())},
    )


class _Function:
    """A task's function in a span; its first argument is the context."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function, self.name = function, name

    def __call__(self, carrier: Carrier, *args: Any, **kwargs: Any) -> Any:
        traced = _in_span(self.function, self.name)
        return traced(*args, **{**kwargs, _CARRIER: carrier})


def _in_span(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function with a context as one more keyword argument, of the same kind as before."""
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def items(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            with _running(name, kwargs.pop(_CARRIER, None)):
                async for item in function(*args, **kwargs):
                    yield item

        return items
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            with _running(name, kwargs.pop(_CARRIER, None)):
                return await function(*args, **kwargs)

        return awaited
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with _running(name, kwargs.pop(_CARRIER, None)):
                yield from function(*args, **kwargs)

        return stream

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        with _running(name, kwargs.pop(_CARRIER, None)):
            return function(*args, **kwargs)

    return called


def _traced_class(class_: type) -> type:
    """A subclass of the same name whose methods run in spans."""
    members: dict[str, Any] = {"__module__": class_.__module__, "__doc__": class_.__doc__}
    for name in dir(class_):
        if name.startswith("__") and name not in ("__init__", "__call__"):
            continue
        static = inspect.getattr_static(class_, name)
        full = f"{class_.__name__}.{name}"
        if isinstance(static, (staticmethod, classmethod)):
            members[name] = type(static)(_in_span(static.__func__, full))
        elif inspect.isfunction(static):
            members[name] = _in_span(static, full)
    if "__init__" not in members:
        members["__init__"] = _in_span(_plain_init, f"{class_.__name__}.__init__")
    return type(class_.__name__, (class_,), members)


def _plain_init(self: object) -> None:
    """Of classes without a constructor of their own."""
