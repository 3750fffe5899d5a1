"""What type checkers are told of `@remote` and `@method`; nothing imports this at run time.

A call takes what its function takes, by position, by name and with defaults, and is checked in
full. A reference may stand for a value among the first five positional arguments; then the other
arguments of that call are not checked.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, Literal, Never, ParamSpec, TypeVar, overload

from heliostat._core.actors import ActorClass, ActorHandle
from heliostat._core.dag import ClassMethodNode, FunctionNode
from heliostat._core.dynamic import DynamicObjectRefGenerator
from heliostat._core.refs import ObjectRef, ObjectRefGenerator
from heliostat._core.remote import RemoteFunction

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
C = TypeVar("C")
Ref = ObjectRef[Any]


class Call(Generic[P, R]):
    """`.remote`: the function's own arguments, or references among the positional ones."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, a: Ref, /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    def __call__(self, a: Any, b: Ref, /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    def __call__(self, a: Any, b: Any, c: Ref, /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    def __call__(self, a: Any, b: Any, c: Any, d: Ref, /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    def __call__(
        self, a: Any, b: Any, c: Any, d: Any, e: Ref, /, *args: Any, **kwargs: Any
    ) -> R: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class RemoteGenerator(Generic[P, T]):
    """A remote generator function: what it yields comes as references, while it runs."""

    remote: Call[P, ObjectRefGenerator[T]]

    @overload
    def options(
        self, *, num_returns: Literal["dynamic"], **options: Any
    ) -> RemoteDynamic[P, T]: ...
    @overload
    def options(self, *, num_returns: int, **options: Any) -> Any: ...
    @overload
    def options(
        self, *, num_returns: Literal["streaming"] | None = None, **options: Any
    ) -> RemoteGenerator[P, T]: ...
    def options(self, **options: Any) -> Any: ...
    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        raise NotImplementedError


class RemoteDynamic(Generic[P, T]):
    """A remote generator function with num_returns="dynamic"."""

    remote: Call[P, ObjectRef[DynamicObjectRefGenerator[T]]]

    def options(self, **options: Any) -> RemoteDynamic[P, T]:
        raise NotImplementedError

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        raise NotImplementedError


class Decorator:
    """`@remote(num_cpus=...)`."""

    @overload
    def __call__(self, target: type[C], /) -> ActorClass[C]: ...  # type: ignore[overload-overlap]  # a class is a callable
    @overload
    def __call__(self, target: Callable[P, Iterator[T]], /) -> RemoteGenerator[P, T]: ...  # type: ignore[overload-overlap]  # an iterator is a result
    @overload
    def __call__(self, target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
    def __call__(self, target: Any, /) -> Any: ...


class DynamicDecorator:
    """`@remote(num_returns="dynamic")`."""

    def __call__(self, target: Callable[P, Iterator[T]], /) -> RemoteDynamic[P, T]:
        raise NotImplementedError


class Method(Generic[P, R, T]):
    """A method with `@method`: R for whoever calls it in the actor, T for whoever has a handle."""

    remote: Call[P, T]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        raise NotImplementedError

    def options(self, **options: Any) -> Method[P, R, T]:
        raise NotImplementedError

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        raise NotImplementedError


class MethodDecorator:
    """`@method`, and `@method(max_task_retries=...)`."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> Method[P, Coroutine[Any, Any, R], ObjectRef[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # an iterator is a result
        self, function: Callable[Concatenate[Any, P], Iterator[R]], /
    ) -> Method[P, Iterator[R], ObjectRefGenerator[R]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # an iterator is a result
        self, function: Callable[Concatenate[Any, P], AsyncIterator[R]], /
    ) -> Method[P, AsyncIterator[R], ObjectRefGenerator[R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], R], /
    ) -> Method[P, R, ObjectRef[R]]: ...
    def __call__(self, function: Any, /) -> Any: ...


class ManyMethodDecorator:
    """`@method(num_returns=2)` and the like, whose calls give a list, or nothing."""

    def __call__(self, function: Callable[Concatenate[Any, P], R], /) -> Method[P, R, Any]:
        raise NotImplementedError


class Proxied(ActorHandle[C]):
    """A handle whose methods are those of its class; see `heliostat.actor.ActorProxy`."""

    def __getattr__(self, name: str) -> Never:
        raise NotImplementedError
