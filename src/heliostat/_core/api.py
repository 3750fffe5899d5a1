"""get, put, wait, cancel, kill, get_actor: what users call; each checks its input and calls the engine once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from heliostat._core.actors import ActorHandle
from heliostat._core.refs import ObjectRef, ObjectRefGenerator
from heliostat._core.session import current_engine

T = TypeVar("T")
W = TypeVar("W", bound=ObjectRef[Any] | ObjectRefGenerator[Any])


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: Sequence[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
def get(object_refs: ObjectRef[T] | Sequence[ObjectRef[T]], *, timeout: float | None = None) -> Any:
    """Wait for values and return them.

    Arrays and tables come back as read-only views of shared memory, without a copy.

    Args:
        object_refs: One reference, or a list of them.
        timeout: Seconds to wait; None for ever, 0 not at all.

    Returns:
        The value, or the list of values in the same order.

    Raises:
        ValueError, TypeError: For what is no reference.
        GetTimeoutError: When the time is over first.
        RayTaskError: When the task raised; also an instance of the cause's class.
        RayActorError: When the actor died.
        ObjectLostError: When the value is gone.

    Example:
        >>> import heliostat as ray
        >>> ray.get([ray.put(1), ray.put(2)])
        [1, 2]
    """
    timeout_s = None if timeout is None else _seconds(timeout)
    if isinstance(object_refs, ObjectRef):
        return current_engine().get((object_refs,), timeout_s=timeout_s)[0]
    if isinstance(object_refs, (list, tuple)):
        for index, ref in enumerate(object_refs):
            if not isinstance(ref, ObjectRef):
                raise TypeError(f"get() takes ObjectRefs; item {index} of the list is {_kind(ref)}")
        return current_engine().get(object_refs, timeout_s=timeout_s)
    raise ValueError(f"get() takes an ObjectRef or a list of them, got {_kind(object_refs)}")


def put(value: T) -> ObjectRef[T]:
    """Keep a value and return a reference to it.

    Raises:
        TypeError: For an ObjectRef, or a value that cannot be pickled (the path to the culprit
            is in the message).
        ObjectStoreFullError: When the value does not fit into the memory budget.

    Example:
        >>> import heliostat as ray
        >>> ray.get(ray.put("kept"))
        'kept'
    """
    if isinstance(value, ObjectRef):
        raise TypeError(
            "put() of an ObjectRef is not allowed: it is a reference already; "
            "put it into a list if you want a reference to the reference"
        )
    return current_engine().put(value)


@overload
def wait(
    ray_waitables: Sequence[W],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[W], list[W]]: ...
@overload  # references and streams together, which have no other base than object
def wait(
    ray_waitables: Sequence[object],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]: ...
def wait(
    ray_waitables: Sequence[Any],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Wait until `num_returns` of the references are ready, and tell them from the rest.

    Args:
        ray_waitables: Different references, or streams (ready when their next item is).
        num_returns: How many to wait for.
        timeout: Seconds to wait at most; None for ever.
        fetch_local: Means nothing on one machine.

    Returns:
        (ready, not ready), each in the order given; at most `num_returns` are called ready.

    Raises:
        TypeError: For anything but a list of references.
        ValueError: For duplicates or a num_returns out of range.

    Example:
        >>> import heliostat as ray
        >>> refs = [ray.put(1), ray.put(2)]
        >>> ready, rest = ray.wait(refs, num_returns=2)
        >>> len(ready), len(rest)
        (2, 0)
    """
    del fetch_local
    items, ids = _waitables(ray_waitables)
    if isinstance(num_returns, bool) or not isinstance(num_returns, int) or num_returns < 1:
        raise ValueError(f"num_returns must be an int >= 1, got {num_returns!r}")
    if not items:
        current_engine()  # as any first use, this starts a session
        return [], []
    if num_returns > len(items):
        raise ValueError(
            f"num_returns={num_returns} is more than the {len(items)} references given"
        )
    timeout_s = None if timeout is None else _seconds(timeout)
    ready = current_engine().wait(ids, count=num_returns, timeout_s=timeout_s)
    rest = list(items)
    if ready == list(range(len(ready))):  # the usual case, without a look at every item
        del rest[: len(ready)], ids[: len(ready)]
    else:
        for position in reversed(ready):
            del rest[position], ids[position]
    _checked.ids = ids
    return [items[position] for position in ready], rest


class _Checked(threading.local):
    """What the last `wait` of this thread left: in a loop, the next one is given just that."""

    ids: list[bytes] = []  # noqa: RUF012 - replaced, never changed


_checked = _Checked()


def _waitables(refs: Any) -> tuple[Sequence[Any], list[bytes]]:
    """The references given, and what identifies each."""
    if isinstance(refs, ObjectRef):
        raise TypeError("wait() takes a list of ObjectRefs, got a single ObjectRef; put it in []")
    if not isinstance(refs, (list, tuple)):
        raise TypeError(f"wait() takes a list of ObjectRefs, got {_kind(refs)}")
    # Calls in a loop over thousands of references are made of the looks at each of them.
    try:
        ids = [ref._id for ref in refs]
    except AttributeError:  # a stream, or a mistake
        ids = []
    if ids and ids == _checked.ids:
        return refs, ids
    plain = refs
    if list(map(type, refs)).count(ObjectRef) != len(refs):
        for index, ref in enumerate(refs):
            if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
                raise TypeError(
                    f"wait() takes ObjectRefs; item {index} of the list is {_kind(ref)}"
                )
        plain = [item.upcoming() if isinstance(item, ObjectRefGenerator) else item for item in refs]
    ids = [ref._id for ref in plain]
    if len(set(ids)) != len(ids):
        raise ValueError("wait() needs different references, but one is in the list twice")
    return refs, ids


def cancel(
    ray_waitable: ObjectRef[Any] | ObjectRefGenerator[Any],
    *,
    force: bool = False,
    recursive: bool = True,
) -> None:
    """Stop the task that makes a value; `get` of it then raises TaskCancelledError.

    A task that waits is not run; a running one gets KeyboardInterrupt in its thread; a finished
    one is left alone. Calls of asyncio actors are cancelled as asyncio tasks.

    Args:
        ray_waitable: What the task returned.
        force: End the worker process instead (not for actors).
        recursive: Also stop the tasks that this one has submitted.

    Raises:
        TypeError: For anything but a reference.
        ValueError: force=True for a call of an actor.
    """
    ref = ray_waitable
    if isinstance(ref, ObjectRefGenerator):
        ref = ref.completed()
    if not isinstance(ref, ObjectRef):
        raise TypeError(f"cancel() takes an ObjectRef, got {_kind(ref)}")
    current_engine().cancel(ref, force=force, recursive=recursive)


def kill(actor: ActorHandle[Any] | type[Any], *, no_restart: bool = True) -> None:
    """End an actor's process at once; its pending calls fail with ActorDiedError.

    Args:
        actor: The actor's handle.
        no_restart: False lets `max_restarts` bring it back.

    Raises:
        ValueError: For anything but an actor handle.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(
            f"kill() takes an actor handle, got {_kind(actor)}; use cancel() for tasks"
        )
    current_engine().kill_actor(actor._actor_id, restart=not no_restart)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """The living actor of that name.

    Raises:
        ValueError: When there is none; lists the names there are.
        TypeError: If the name is no string.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class A: pass
        >>> a = A.options(name="one").remote()
        >>> ray.get_actor("one") == a
        True
    """
    if not isinstance(name, str) or not name:
        kind = ValueError if name == "" else TypeError
        raise kind(f"an actor's name is a string that is not empty, got {name!r}")
    return ActorHandle(*current_engine().find_actor(name, namespace))


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of the living actors that have one.

    Args:
        all_namespaces: Not only those of this session's namespace.

    Returns:
        Names; with all_namespaces, dicts with "namespace" and "name".

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... class A: pass
        >>> a = A.options(name="listed").remote()
        >>> "listed" in ray.util.list_named_actors()
        True
    """
    found = current_engine().named_actors(all_namespaces=all_namespaces)
    if all_namespaces:
        return [{"namespace": namespace, "name": name} for namespace, name in found]
    return [name for _, name in found]


def _seconds(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if timeout < 0:
        raise ValueError(
            f"timeout must be >= 0 seconds, got {timeout!r}; use None to wait for ever"
        )
    return timeout


def _kind(value: object) -> str:
    if isinstance(value, ObjectRefGenerator):
        return "an ObjectRefGenerator (iterate over it, and get() what it yields)"
    return f"{type(value).__name__}: {value!r}"[:120]
