"""Frozen values that describe work: what the API hands to an engine. They know no engine.

Also what a function takes, so that a call that does not fit is refused where it is made:
`Parameters` is a picklable extract of `inspect.Signature`, which handles carry to other processes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

from heliostat._core.ids import ActorID, fresh
from heliostat._core.options import ActorOptions, MethodOptions, TaskOptions

# Of `code.co_flags`, as in `inspect`, which is slow to import: every script would pay for it.
_VARARGS, _VARKEYWORDS, _GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x4, 0x8, 0x20, 0x80, 0x200
_SIGNED = {"__wrapped__", "__signature__"}  # what makes a function's signature that of another


class Parameters(NamedTuple):
    """The parameters of one function, without `self`."""

    positional: tuple[str, ...]  # in order; those before `by_name` cannot be named
    by_name: int
    required: int  # how many of them have no default
    more: bool  # *args
    named: tuple[str, ...]  # keyword-only
    named_required: tuple[str, ...]
    more_named: bool  # **kwargs

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise the TypeError that the call would raise.

        Raises:
            TypeError: In the words of `inspect.Signature.bind`.
        """
        given = len(args)
        enough = self.required <= given and (self.more or given <= len(self.positional))
        if enough and not kwargs and not self.named_required:
            return
        if given > len(self.positional) and not self.more:
            raise TypeError(
                f"too many positional arguments: {given}, but it takes {len(self.positional)}"
            )
        for name in self.positional[max(given, self.by_name) : self.required]:
            if name not in kwargs:
                raise TypeError(f"missing a required argument: {name!r}")
        if given < min(self.required, self.by_name):
            raise TypeError(f"missing a required argument: {self.positional[given]!r}")
        self._check_names(given, kwargs)

    def _check_names(self, given: int, kwargs: Mapping[str, Any]) -> None:
        for name in self.named_required:
            if name not in kwargs:
                raise TypeError(f"missing a required argument: {name!r}")
        nameable = self.positional[self.by_name :]
        for name in kwargs:
            if name in self.positional[self.by_name : given]:
                raise TypeError(f"multiple values for argument {name!r}")
            if name not in nameable and name not in self.named and not self.more_named:
                raise TypeError(f"got an unexpected keyword argument {name!r}")


class Code:
    """A function or class that runs elsewhere; its identity lets engines send it once.

    Args:
        value: The function or class.
        name: What people call it, for messages.
    """

    __slots__ = ("__weakref__", "key", "name", "value")

    def __init__(self, value: Callable[..., Any], name: str) -> None:
        self.key = fresh()
        self.value = value
        self.name = name

    def __repr__(self) -> str:
        return f"Code({self.name})"


class TaskSpec(NamedTuple):
    """One call of a remote function."""

    code: Code
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: TaskOptions


class Method(NamedTuple):
    """What a handle knows of a method of its actor."""

    options: MethodOptions
    parameters: Parameters | None


About = tuple[dict[str, Method], tuple[str, ...], int]  # the end of `ActorInfo`


class ActorSpec(NamedTuple):
    """The making of one actor."""

    code: Code
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: ActorOptions
    methods: dict[str, Method]

    def about(self) -> About:
        """What handles to the actor need to know."""
        groups = tuple(name for name, _ in self.options.concurrency_groups)
        return self.methods, groups, self.options.max_pending_calls


class CallSpec(NamedTuple):
    """One call of an actor's method."""

    actor: ActorID
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: MethodOptions
    max_pending_calls: int = -1


class ActorInfo(NamedTuple):
    """What a handle to an actor needs to know."""

    actor: ActorID
    class_name: str
    methods: dict[str, Method]
    groups: tuple[str, ...]
    max_pending_calls: int


def parameters_of(function: Callable[..., Any], *, skip: int = 0) -> Parameters | None:
    """What `function` takes after its first `skip` parameters; None if it cannot be told."""
    if type(function) is MethodType:
        return parameters_of(function.__func__, skip=skip + 1)
    if type(function) is FunctionType and not vars(function).keys() & _SIGNED:
        return _of_function(function, skip)
    return _of_signature(function, skip)


def is_generator(function: object) -> bool:
    """Whether calls of it yield, be it `def` or `async def`."""
    return bool(_flags(function) & (_GENERATOR | _ASYNC_GENERATOR))


def is_coroutine(function: object) -> bool:
    """Whether calls of it are to be awaited: `async def` without `yield`."""
    return bool(_flags(function) & _COROUTINE)


def is_async_function(function: object) -> bool:
    """Whether it is `async def`."""
    return bool(_flags(function) & (_COROUTINE | _ASYNC_GENERATOR))


def _flags(function: object) -> int:
    while True:
        if isinstance(function, (MethodType, staticmethod, classmethod)):
            function = function.__func__
        elif isinstance(function, partial):
            function = function.func
        else:
            break
    code = getattr(function, "__code__", None)
    return code.co_flags if isinstance(code, CodeType) else 0


def _of_function(function: FunctionType, skip: int) -> Parameters:
    """As `_of_signature`, without asking `inspect`."""
    code = function.__code__
    ordered = code.co_argcount
    skip = min(skip, ordered)
    named = code.co_varnames[ordered : ordered + code.co_kwonlyargcount]
    defaults = function.__kwdefaults__ or {}
    return Parameters(
        positional=code.co_varnames[skip:ordered],
        by_name=max(0, code.co_posonlyargcount - skip),
        required=max(0, ordered - skip - len(function.__defaults__ or ())),
        more=bool(code.co_flags & _VARARGS),
        named=named,
        named_required=tuple(name for name in named if name not in defaults),
        more_named=bool(code.co_flags & _VARKEYWORDS),
    )


def _of_signature(function: Callable[..., Any], skip: int) -> Parameters | None:
    import inspect  # noqa: PLC0415 - only for what `def` did not make

    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    kinds = inspect.Parameter
    ordered = [p for p in found if p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)]
    ordered = ordered[skip:]
    named = [p for p in found if p.kind is kinds.KEYWORD_ONLY]
    return Parameters(
        positional=tuple(p.name for p in ordered),
        by_name=sum(p.kind is kinds.POSITIONAL_ONLY for p in ordered),
        required=sum(p.default is kinds.empty for p in ordered),
        more=any(p.kind is kinds.VAR_POSITIONAL for p in found),
        named=tuple(p.name for p in named),
        named_required=tuple(p.name for p in named if p.default is kinds.empty),
        more_named=any(p.kind is kinds.VAR_KEYWORD for p in found),
    )
