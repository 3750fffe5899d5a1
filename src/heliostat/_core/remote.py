"""@remote and RemoteFunction: a Python function that runs somewhere else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from heliostat._core.actors import ActorClass
from heliostat._core.options import TaskOptions, actor_options, task_options
from heliostat._core.refs import ObjectRef, shape
from heliostat._core.session import current_engine
from heliostat._core.specs import Code, TaskSpec, is_coroutine, is_generator, parameters_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from heliostat._core.dag import FunctionNode
    from heliostat._core.typed import Call, Decorator, DynamicDecorator, RemoteGenerator

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
T = TypeVar("T")


class RemoteFunction(Generic[P, R]):
    """A function to call with `.remote(...)`; made by `@heliostat.remote`.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote(num_cpus=0.5)
        ... def double(x: int) -> int:
        ...     return 2 * x
        >>> ray.get(double.remote(4))
        8
    """

    def __init__(self, function: Callable[P, R], options: TaskOptions) -> None:
        self._function = function
        self._code = Code(function, getattr(function, "__qualname__", repr(function)))
        self._settle(options)
        self._parameters = parameters_of(function)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        raise TypeError(
            f"remote function {self._code.name}() cannot be called directly; "
            f"use {self._code.name}.remote(...) and heliostat.get, or "
            f"{self._code.name}.__wrapped__(...) to run it here"
        )

    def _settle(self, options: TaskOptions) -> None:
        """Say what runs with these options, and with which: an engine knows no "dynamic"."""
        self._options = options
        self._runs, self._asks = self._code, options
        if options.num_returns == "dynamic":
            from heliostat._core import dynamic  # noqa: PLC0415 - seldom asked for

            self._runs = dynamic.gathering(self._code)
            self._asks = options._replace(num_returns=1)

    if TYPE_CHECKING:
        remote: Call[P, ObjectRef[R]]
    else:

        def remote(self, *args: Any, **kwargs: Any) -> Any:
            """Run it on some worker and return at once.

            Returns:
                An ObjectRef; a list of them for num_returns > 1, None for num_returns=0, an
                ObjectRefGenerator for num_returns="streaming", a reference to a
                DynamicObjectRefGenerator for num_returns="dynamic".

            Raises:
                TypeError: If the arguments do not fit the function, or cannot be pickled.
                TaskUnschedulableError: If it asks for resources that are not there at all.
            """
            if self._parameters is not None:
                self._parameters.check(args, kwargs)
            options = self._asks
            refs = current_engine().submit(TaskSpec(self._runs, args, kwargs, options))
            return refs[0] if options.num_returns == 1 else shape(refs, options.num_returns)

    @overload
    def options(self, *, num_returns: int | str, **options: Any) -> Any: ...
    @overload
    def options(self, *, num_returns: None = None, **options: Any) -> RemoteFunction[P, R]: ...
    def options(self, **options: Any) -> Any:
        """The same function with other options; this one stays as it is.

        Raises:
            ValueError: An unknown option, or a value out of range.
        """
        if "max_calls" in options:
            raise ValueError(
                "max_calls belongs to the function, so options() cannot change it; "
                f"set it where {self._code.name} is made remote: @remote(max_calls=...)"
            )
        other = RemoteFunction.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._settle(_parsed(options, self._options))
        return other

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        """A node of a graph that calls it when the graph is executed.

        Args:
            args, kwargs: Its arguments; nodes among them, or inside of them, are executed first.

        Example:
            >>> import heliostat as ray
            >>> @ray.remote
            ... def add(a, b): return a + b
            >>> ray.get(add.bind(add.bind(1, 2), 3).execute())
            6
        """
        from heliostat._core.dag import FunctionNode  # noqa: PLC0415 - seldom asked for

        return FunctionNode(self, args, kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._function, self._options)

    def __repr__(self) -> str:
        return f"RemoteFunction({self._code.name})"


def _restore(function: Callable[P, R], options: TaskOptions) -> RemoteFunction[P, R]:
    return RemoteFunction(function, options)


@overload
def remote(target: type[C], /) -> ActorClass[C]: ...  # type: ignore[overload-overlap]  # a class is a callable
@overload
def remote(target: Callable[P, Iterator[T]], /) -> RemoteGenerator[P, T]: ...  # type: ignore[overload-overlap]  # an iterator is a result
@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(*, num_returns: Literal["dynamic"], **options: Any) -> DynamicDecorator: ...
@overload
def remote(*, num_returns: int, **options: Any) -> Callable[[Any], Any]: ...
@overload
def remote(*, num_returns: Literal["streaming"] | None = None, **options: Any) -> Decorator: ...
def remote(*args: Any, **options: Any) -> Any:
    """Make a function or class remote.

    Used bare (`@remote`), with options (`@remote(num_cpus=2)`), or as a function.

    Args:
        args: The function or class, when used bare.
        options: Options of tasks (num_returns, num_cpus, num_gpus, resources, memory,
            max_retries, retry_exceptions, name) or of actors (also namespace, get_if_exists,
            lifetime, max_restarts, max_task_retries, max_concurrency).

    Raises:
        TypeError: For what is neither a function nor a class.
        ValueError: For an async function, an unknown option or a value out of range.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class Counter:
        ...     def __init__(self): self.n = 0
        ...     def add(self): self.n += 1; return self.n
        >>> counter = Counter.remote()
        >>> ray.get([counter.add.remote(), counter.add.remote()])
        [1, 2]
    """
    if len(args) == 1 and not options and callable(args[0]):
        return _make(args[0], {})
    if args or not options:
        raise TypeError(
            f"use @remote bare, or with keyword options as in @remote(num_cpus=1); got {args!r}"
        )
    return functools.partial(_make, options=options)


def _make(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, type):
        return ActorClass(target, actor_options(options))
    if not callable(target) or isinstance(target, (RemoteFunction, ActorClass)):
        raise TypeError(f"@remote needs a function or a class, got {target!r}")
    if is_coroutine(target):
        raise ValueError(
            f"{target.__qualname__} is an async function; only actors may have async methods. "
            "Wrap it: def f(): return asyncio.run(...)"
        )
    defaults = TaskOptions()
    if is_generator(target):
        defaults = task_options({"num_returns": "streaming"})
    return RemoteFunction(target, _parsed(options, defaults))


_DEFAULTS = TaskOptions()
_PLAIN = frozenset({int, float, str, bool, type(None)})


def _parsed(options: dict[str, Any], base: TaskOptions) -> TaskOptions:
    """What `task_options` makes of them; of plain values once, for they are mostly the same again."""
    if base == _DEFAULTS and _PLAIN.issuperset(map(type, options.values())):
        return _kept(**options)
    return task_options(options, base)


@functools.lru_cache(maxsize=256, typed=True)
def _kept(**options: Any) -> TaskOptions:
    return task_options(options)
