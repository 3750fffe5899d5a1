"""Backends of users' own: a class that carries tensors between the ranks of a group."""

from heliostat.util.collective._group import GlooGroup
from heliostat.util.collective.collective_group.base_collective_group import BaseGroup
from heliostat.util.collective.types import Backend

__all__ = ["class_of", "register_collective_backend"]

_CLASSES: dict[str, type[BaseGroup]] = {Backend.GLOO: GlooGroup}


def register_collective_backend(name: str, group_cls: type[BaseGroup]) -> None:
    """Make a backend of a class; in every process that is to be a rank, and in the driver.

    Args:
        name: What `init_collective_group(backend=)` and `create_collective_group` call it.
        group_cls: A subclass of `BaseGroup`, made as `group_cls(world_size, rank, group_name)`.

    Raises:
        TypeError: It is no such class.
        ValueError: There is another class of this name, or it is one of ours.

    Example:
        >>> register_collective_backend("gloo", BaseGroup)
        Traceback (most recent call last):
        ...
        ValueError: there is a backend 'GLOO' already, GlooGroup; give yours another name
    """
    if not isinstance(group_cls, type) or not issubclass(group_cls, BaseGroup):
        raise TypeError(
            f"register_collective_backend() takes a subclass of BaseGroup, got {group_cls!r}"
        )
    upper = str(name).upper()
    there = _CLASSES.get(upper, group_cls)
    same = (there.__module__, there.__qualname__) == (group_cls.__module__, group_cls.__qualname__)
    if upper in (Backend.NCCL, Backend.GLOO) or not same:
        called = there.__name__ if upper != Backend.NCCL else "NCCL"
        raise ValueError(f"there is a backend {upper!r} already, {called}; give yours another name")
    _CLASSES[upper] = group_cls
    Backend.registered.add(upper)


def class_of(backend: str) -> type[BaseGroup]:
    """The class of a backend.

    Args:
        backend: Its name.

    Raises:
        NotImplementedError: For nccl.
        ValueError: For a name that nobody has made known in this process.
    """
    name = Backend(backend)
    if name == Backend.NCCL:
        raise NotImplementedError(
            f"backend={backend!r} is not offered: collective calls run on torch's gloo here, through "
            "the CPU's memory; pass backend='gloo', or register_collective_backend() one of your own"
        )
    return _CLASSES[name]
