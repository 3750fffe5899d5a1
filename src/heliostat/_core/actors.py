"""ActorClass, ActorHandle, ActorMethod and @method: a class whose instance lives in its own process."""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, cast, overload

from heliostat._core.ids import ActorID
from heliostat._core.options import ActorOptions, MethodOptions, actor_options, method_options
from heliostat._core.refs import ObjectRef, shape
from heliostat._core.session import current_engine
from heliostat._core.specs import (
    ActorInfo,
    ActorSpec,
    CallSpec,
    Code,
    Method,
    is_async_function,
    is_generator,
    parameters_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from typing import Concatenate

    from heliostat._core import typed
    from heliostat._core.dag import ClassMethodNode, ClassNode
    from heliostat._core.refs import ObjectRefGenerator

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")

_MARK = "__heliostat_method__"


@overload
def method(
    function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
) -> typed.Method[P, Coroutine[Any, Any, R], ObjectRef[R]]: ...
@overload
def method(  # type: ignore[overload-overlap]  # an iterator is a result
    function: Callable[Concatenate[Any, P], Iterator[R]], /
) -> typed.Method[P, Iterator[R], ObjectRefGenerator[R]]: ...
@overload
def method(  # type: ignore[overload-overlap]  # an iterator is a result
    function: Callable[Concatenate[Any, P], AsyncIterator[R]], /
) -> typed.Method[P, AsyncIterator[R], ObjectRefGenerator[R]]: ...
@overload
def method(function: Callable[Concatenate[Any, P], R], /) -> typed.Method[P, R, ObjectRef[R]]: ...
@overload
def method(*, num_returns: int | str, **options: Any) -> typed.ManyMethodDecorator: ...
@overload
def method(*, num_returns: None = None, **options: Any) -> typed.MethodDecorator: ...
def method(*functions: Any, **options: Any) -> Any:
    """Mark a method of an actor class, and set its options.

    Options hold for every call. Type checkers know what calls of marked methods take and give
    through the handles that `Class.remote()` returns.

    Args:
        functions: The method, when used bare.
        options: num_returns, max_task_retries, retry_exceptions, name, concurrency_group.

    Raises:
        TypeError: For what is no function.
        ValueError: For an unknown option or a value out of range.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class Pair:
        ...     @ray.method(num_returns=2)
        ...     def both(self): return 1, 2
        >>> one, two = Pair.remote().both.remote()
        >>> ray.get(two)
        2
    """
    if len(functions) == 1 and callable(functions[0]) and not options:
        return functions[0]
    if functions or not options:
        raise TypeError(
            "use @method bare, or with keyword options as in @method(num_returns=2); got "
            f"{functions!r}"
        )
    method_options(options)  # a mistake is told at the line that made it

    def mark(function: Any) -> Any:
        setattr(function, _MARK, options)
        return function

    return mark


class ActorClassInheritanceException(TypeError):
    """A class was derived from an actor class."""


class ActorClass(Generic[C]):
    """A class whose instances are actors; made by `@heliostat.remote`.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class Greeter:
        ...     def greet(self, name): return f"hello {name}"
        >>> ray.get(Greeter.remote().greet.remote("you"))
        'hello you'
    """

    def __init__(self, class_: type[C], options: ActorOptions) -> None:
        self._class = class_
        self._options = options
        self._code = Code(class_, class_.__qualname__)
        self._methods = _methods_of(class_)
        self._asynchronous = is_async(class_)
        self._parameters = parameters_of(class_)
        self.__name__ = class_.__name__
        self.__qualname__ = class_.__qualname__
        self.__module__ = class_.__module__
        self.__doc__ = class_.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"actor class {self._code.name} cannot be instantiated directly; "
            f"use {self._code.name}.remote(...)"
        )

    def remote(self, *args: Any, **kwargs: Any) -> ActorProxy[C]:
        """Start an actor and return its handle at once; the constructor runs in its process.

        Raises:
            TypeError: If the arguments do not fit the constructor, or cannot be pickled.
            ActorUnschedulableError: If it asks for resources that are not there at all.
        """
        if self._parameters is not None:
            self._parameters.check(args, kwargs)
        spec = ActorSpec(self._code, args, kwargs, self._settled_options(), self._methods)
        return cast("ActorProxy[C]", ActorHandle(*current_engine().create_actor(spec)))

    def options(self, **options: Any) -> ActorClass[C]:
        """The same class with other options; this one stays as it is.

        Raises:
            ValueError: An unknown option, or a value out of range.
        """
        other = ActorClass.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._options = actor_options(options, self._options)
        return other

    def bind(self, *args: Any, **kwargs: Any) -> ClassNode:
        """A node of a graph: an actor that is started when the graph is executed.

        Its methods are bound as in `Counter.bind(0).add.bind(1)`; see `heliostat.dag`.
        """
        from heliostat._core.dag import ClassNode  # noqa: PLC0415 - seldom asked for

        return ClassNode(self, args, kwargs)

    def _settled_options(self) -> ActorOptions:
        """The options, with what depends on the class filled in.

        Raises:
            ValueError: For a group that is not there, or an order that cannot be kept.
        """
        options = self._options
        groups = tuple(name for name, _ in options.concurrency_groups)
        for name, (method, _) in self._methods.items():
            _check_group(method.concurrency_group, groups, f"{self._code.name}.{name}")
        overlaps = bool(groups) or self._asynchronous or (options.max_concurrency or 1) > 1
        if options.out_of_order is None:
            return options._replace(out_of_order=overlaps)
        if overlaps and not options.out_of_order:
            raise ValueError(
                f"allow_out_of_order_execution=False: calls of {self._code.name} overlap (it is an "
                "asyncio actor, or has max_concurrency or concurrency_groups), so no order can be "
                "kept; leave it out"
            )
        return options

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        raise ActorClassInheritanceException(
            f"a class cannot inherit from the actor class {self._code.name}; inherit from the "
            "class before it is made remote, and decorate the derived one"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorClass, (self._class, self._options)

    def __repr__(self) -> str:
        return f"ActorClass({self._code.name})"


def is_async(class_: type) -> bool:
    """Whether instances serve their calls on an event loop: some method is `async def`."""
    return any(is_async_function(value) for value in _members(class_).values())


def _members(class_: type) -> dict[str, Any]:
    """What its instances find on the class, as it was defined, bound to nothing."""
    found: dict[str, Any] = {}
    for base in reversed(class_.__mro__):
        found.update(vars(base))
    return found


def _check_group(group: str, groups: tuple[str, ...], who: str) -> None:
    if group and group not in groups:
        there = ", ".join(groups) or "none"
        raise ValueError(
            f"{who} names concurrency group {group!r}, but the actor's groups are: {there}; "
            "declare it in @remote(concurrency_groups={...})"
        )


def _methods_of(class_: type) -> dict[str, Method]:
    """What there is to call; generators stream by default."""
    found = {name: Method(MethodOptions(), None) for name in _BUILT_IN}
    for name, defined in _members(class_).items():
        if name.startswith("__") and name != "__call__":
            continue
        value = getattr(class_, name, None)
        if not callable(value):
            continue
        marked = getattr(value, _MARK, {})
        defaults = {"num_returns": "streaming"} if is_generator(value) else {}
        skip = 0 if isinstance(defined, (staticmethod, classmethod)) else 1
        options = method_options({**defaults, **marked})
        found[name] = Method(options, parameters_of(value, skip=skip))
    return found


_GATHER = "__ray_gather__"


def _gather(actor: object, name: str, /, *args: Any, **kwargs: Any) -> Any:
    """A call with num_returns="dynamic"."""
    from heliostat._core.dynamic import gather  # noqa: PLC0415 - seldom asked for

    return gather(f"{type(actor).__name__}.{name}", getattr(actor, name)(*args, **kwargs))


# Methods that every actor has, with Ray's names.
_BUILT_IN: dict[str, Callable[..., Any]] = {
    "__ray_ready__": lambda actor: True,
    "__ray_call__": lambda actor, function, *args, **kwargs: function(actor, *args, **kwargs),
    "__ray_terminate__": lambda actor: exit_actor(),
    _GATHER: _gather,
}


def find_method(actor: object, name: str) -> Callable[..., Any]:
    """The method of an actor's instance that a call names."""
    if name in _BUILT_IN:
        return functools.partial(_BUILT_IN[name], actor)
    method: Callable[..., Any] = getattr(actor, name)
    return method


class ActorHandle(Generic[C]):
    """A way to call one actor; hold it, name it or pass it on. The actor ends with its last handle."""

    __slots__ = ("__weakref__", "_alive", "_info")

    def __init__(self, info: ActorInfo, alive: ObjectRef[Any]) -> None:
        self._info = info
        self._alive = alive

    def __getattr__(self, name: str) -> ActorMethod:
        method = self._info.methods.get(name)
        if method is None:
            if name.startswith("__") and name.endswith("__"):
                raise AttributeError(name)
            known = ", ".join(sorted(m for m in self._info.methods if not m.startswith("_")))
            raise AttributeError(
                f"actor {self._info.class_name} has no method {name!r}; its methods are: {known}"
            )
        return ActorMethod(self, name, method.options)

    def __dir__(self) -> list[str]:
        return sorted(self._info.methods)

    @property
    def _actor_id(self) -> ActorID:
        return self._info.actor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and self._info.actor == other._info.actor

    def __hash__(self) -> int:
        return hash(self._info.actor)

    def __repr__(self) -> str:
        return f"Actor({self._info.class_name}, {self._info.actor.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ActorHandle, (self._info, self._alive)


# What `Class.remote()` returns is an ActorHandle. Type checkers are told that it has what the class
# has, so that they know methods marked with `@method`.
if TYPE_CHECKING:
    ActorProxy = typed.Proxied[C] | type[C]
else:
    ActorProxy = ActorHandle[C] | type[C]


class ActorMethod:
    """One method of one actor, to call with `.remote(...)`."""

    __slots__ = ("_handle", "_name", "_options")

    def __init__(self, handle: ActorHandle[Any], name: str, options: MethodOptions) -> None:
        self._handle = handle
        self._name = name
        self._options = options

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"actor method {self._name}() cannot be called directly; use {self._name}.remote(...)"
        )

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in the actor's process and return at once.

        Returns:
            As for remote functions: an ObjectRef, a list, None or an ObjectRefGenerator.

        Raises:
            TypeError: If the arguments do not fit the method, or cannot be pickled.
            PendingCallsLimitExceeded: If this process has `max_pending_calls` calls waiting.
        """
        options, name, info = self._options, self._name, self._handle._info
        parameters = info.methods[name].parameters
        if parameters is not None:
            parameters.check(args, kwargs)
        if options.num_returns == "dynamic":
            name, args, options = _GATHER, (name, *args), options._replace(num_returns=1)
        spec = CallSpec(info.actor, name, args, kwargs, options, info.max_pending_calls)
        refs = current_engine().call_actor(spec)
        return refs[0] if options.num_returns == 1 else shape(refs, options.num_returns)

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options.

        Raises:
            ValueError: An unknown option or group, or a value out of range.
        """
        parsed, info = method_options(options, self._options), self._handle._info
        _check_group(parsed.concurrency_group, info.groups, f"{info.class_name}.{self._name}")
        return ActorMethod(self._handle, self._name, parsed)

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        """A node of a graph that calls it when the graph is executed; see `RemoteFunction.bind`."""
        from heliostat._core.dag import ClassMethodNode  # noqa: PLC0415 - seldom asked for

        return ClassMethodNode(self, args, kwargs)

    def __repr__(self) -> str:
        return f"ActorMethod({self._handle._info.class_name}.{self._name})"


class ActorExit(BaseException):
    """What `exit_actor` raises; no `except Exception` of the user's catches it."""


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Around what an actor does at its end, which comes anyway: errors are shown."""
    with contextlib.suppress(ActorExit, SystemExit):
        try:
            yield
        except Exception:  # noqa: BLE001 - user code
            traceback.print_exc()


def shut_down(actor: object, run: Callable[[Any], Any] = lambda outcome: outcome) -> Any:
    """Have an actor's instance let go of what it holds, by its `__ray_shutdown__` if it has one.

    Args:
        actor: The instance.
        run: What is done with what that returns, of an `async def` a coroutine.

    Returns:
        What `run` returns.
    """
    method = getattr(type(actor), "__ray_shutdown__", None)
    if method is None:
        return None
    with ending():
        return run(method(actor))


def exit_actor() -> NoReturn:
    """End the current actor on purpose; the running call and later ones get ActorDiedError.

    Before it ends, its `__ray_shutdown__()` is called, if its class has one, then what it has
    registered with `atexit`, and its `__del__()`; as when no handle to it is left.

    Raises:
        TypeError: If it is not called inside an actor.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class Once:
        ...     def go(self): ray.actor.exit_actor()
        >>> once = Once.remote()
        >>> try:
        ...     ray.get(once.go.remote())
        ... except ray.exceptions.RayActorError:
        ...     print("gone")
        gone
    """
    if current_engine().running().actor is None:
        raise TypeError("exit_actor() only works inside an actor's method")
    raise ActorExit
