"""Names of a package that are loaded when they are first touched."""

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any


def late(
    space: dict[str, Any], homes: Mapping[str, str], modules: Collection[str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package.

    Args:
        space: Its `globals()`, where what was loaded stays.
        homes: The module below heliostat that each name is in.
        modules: Modules of the package that are attributes, as if they were loaded.

    Returns:
        Both functions.

    Example:
        >>> space = {"__name__": "heliostat.train", "__all__": ["Result"]}
        >>> attribute, names = late(space, {"Result": "train.result"}, ["config"])
        >>> attribute("Result")
        <class 'heliostat.train.result.Result'>
    """
    package = space["__name__"]

    def attribute(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(f"heliostat.{homes[name]}"), name)
        elif name in modules:
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        space[name] = value
        return value

    def names() -> list[str]:
        return sorted({*space, *space["__all__"], *modules})

    return attribute, names
