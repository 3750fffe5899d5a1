"""Ray's errors as ours, and ours through Ray."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # ships no types

from heliostat import exceptions
from heliostat._core.outcomes import raisable, retries, task_error
from heliostat.exceptions import (
    ActorDiedError,
    ObjectLostError,
    RayActorError,
    RayError,
    RaySystemError,
    RayTaskError,
    RuntimeEnvSetupError,
    UnserializableException,
)


class Failed(Exception):
    """The error of a user's function, pickled by us, and in words for Ray's logs."""

    def __init__(self, text: str, pickled: bytes) -> None:
        super().__init__(text, pickled)
        self.pickled = pickled

    def __str__(self) -> str:
        return str(self.args[0])


class Again(Failed):
    """The same, where the options ask for another try."""


def failed(
    name: str, error: BaseException, again: bool | tuple[type[BaseException], ...] = False
) -> Failed:
    """An error of the user's code, to be raised in a worker; what cannot be pickled is its text."""
    wrapped = task_error(name, error)
    kind = Again if again and retries(error, again) else Failed
    return kind(str(wrapped), _pickled(name, wrapped, error))


def passed_on(error: BaseException) -> Failed:
    """An error that came as an argument, to be raised as it is."""
    return Failed(str(error), _pickled("", error, error))


def _pickled(name: str, wrapped: BaseException, error: BaseException) -> bytes:
    try:
        data: bytes = cloudpickle.dumps(wrapped, protocol=5)
        pickle.loads(data)  # some pickle and then do not load
    except Exception:  # noqa: BLE001 - a user's exception class may fail in any way
        text = UnserializableException(f"{type(error).__qualname__}: {error}")
        plain = RayTaskError(name, "", text)
        if isinstance(wrapped, RayTaskError):
            trace, actor = wrapped.traceback_str, wrapped.actor_id
            plain = RayTaskError(name, trace, text, pid=wrapped.pid, actor_id=actor)
        data = cloudpickle.dumps(plain, protocol=5)
    return data


def ours(error: BaseException) -> BaseException:
    """What `get` raises for an error of Ray's."""
    if isinstance(error, RayError):
        return error
    kind = _class_like(error)
    if kind is None:
        return error
    if kind is RayTaskError:
        return _of_a_task(error)
    if issubclass(kind, RayActorError):
        text = str(error).replace("`", "")  # Ray's "killed by `ray.kill`"
        return kind(text, getattr(error, "actor_id", None))
    if issubclass(kind, ObjectLostError):
        return kind(str(error), getattr(error, "object_ref_hex", "") or "")
    return kind(str(error))


def _of_a_task(error: Any) -> BaseException:
    """An error that was raised in a worker, or in one that made an argument of the task."""
    cause = error.cause
    if isinstance(cause, Failed):
        return raisable(pickle.loads(cause.pickled))
    if _class_like(cause) is not None:
        return ours(cause)
    name = getattr(error, "function_name", "a task")
    if isinstance(cause, ModuleNotFoundError) and (cause.name or "").startswith("heliostat"):
        return RuntimeEnvSetupError(
            f"a worker of the cluster cannot run {name}, because it lacks Heliostat: {cause}. "
            "Install the same version of it on every node"
        )
    return raisable(RayTaskError(name, str(error), cause))


def _class_like(error: BaseException) -> type[RayError] | None:
    """Our class of the same name as Ray's, or as one it is derived from."""
    for theirs in type(error).__mro__:
        if not theirs.__module__.startswith("ray."):
            continue
        kind = getattr(exceptions, theirs.__name__, None)
        if isinstance(kind, type) and issubclass(kind, RayError):
            return RaySystemError if kind is RayError else kind
    return None


def died_in_constructor(actor: str, pickled: bytes) -> ActorDiedError:
    """The error of an actor whose constructor raised what was pickled."""
    cause = pickle.loads(pickled)
    name = getattr(cause, "function_name", "").removesuffix(".__init__")
    error = ActorDiedError(f"actor {name} died in its constructor:\n{cause}", actor)
    error.__cause__ = raisable(cause)
    return error


def expect_made_by_us(handle: Any) -> Any:
    """The handle; raises if the actor is of a program of Ray's own."""
    if hasattr(handle, "call"):
        return handle
    raise ValueError(
        f"{handle!r} is of a program on Ray itself; call it there, or take another name"
    )
