"""register_serializer: how values of a class travel, where pickle would not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import cloudpickle  # type: ignore[import-untyped]  # ships no types

__all__ = ["deregister_serializer", "register_serializer"]

T = TypeVar("T")


def register_serializer(
    cls: type[T], *, serializer: Callable[[T], Any], deserializer: Callable[[Any], T]
) -> None:
    """Let this process send values of a class in a way of your own.

    It holds for what this process sends, also inside of other values; a worker that shall send
    such values has to register the class itself. Receivers need nothing: the deserializer travels
    with the value. It is for this very class and not for those derived from it.

    Args:
        cls: The class.
        serializer: Makes something that can be pickled of a value.
        deserializer: Makes the value of that again; has to be picklable itself.

    Raises:
        TypeError: If cls is no class, or one of the others cannot be called.

    Example:
        >>> import heliostat as ray
        >>> class Door:
        ...     def __init__(self, name): self.name, self.lock = name, open
        >>> ray.util.register_serializer(
        ...     Door, serializer=lambda door: door.name, deserializer=Door)
        >>> ray.get(ray.put(Door("front"))).name
        'front'
        >>> ray.util.deregister_serializer(Door)
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer() takes a class, got {cls!r}")
    for name, function in (("serializer", serializer), ("deserializer", deserializer)):
        if not callable(function):
            raise TypeError(f"{name} must be a function, got {function!r}")

    def reduce(value: T) -> tuple[Callable[[Any], T], tuple[Any]]:
        return deserializer, (serializer(value),)

    # Of cloudpickle alone: the table of `copyreg` would change what plain pickle does, too, which
    # cannot pickle most deserializers.
    cloudpickle.Pickler.dispatch_table[cls] = reduce


def deregister_serializer(cls: type[Any]) -> None:
    """Send values of a class as pickle does, from now on; nothing happens if it does already.

    Example:
        >>> import heliostat as ray
        >>> ray.util.deregister_serializer(dict)
    """
    cloudpickle.Pickler.dispatch_table.pop(cls, None)
