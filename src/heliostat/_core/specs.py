"""Frozen values that describe work: what the API hands to an engine. They know no engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from heliostat._core.ids import ActorID, fresh
from heliostat._core.options import ActorOptions, MethodOptions, TaskOptions
from heliostat._core.parameters import Parameters


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
