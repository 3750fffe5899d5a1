"""An import path, "module:name" or "module.name" -> what is there. It knows nothing of Serve."""

from __future__ import annotations

import functools
import importlib
from typing import Any


def split(path: str) -> tuple[str, str]:
    """The module and the name in it; either is empty where the path has none.

    Example:
        >>> split("shop.models:Price"), split("shop.models.Price")
        (('shop.models', 'Price'), ('shop.models', 'Price'))
    """
    module, _, name = path.rpartition(":" if ":" in path else ".")
    return module, name


def found_at(path: str, option: str, advice: str = "") -> Any:
    """What the path leads to; a name with dots is of something inside it, "module:Class.method".

    Args:
        path: The import path.
        option: Where the user has written it, for errors.
        advice: What else to do, for errors.

    Raises:
        ImportError: When there is nothing, or its module cannot be imported.
    """
    module, name = split(path)
    try:
        if not module:
            raise ValueError("an import path is 'module:name'")
        return functools.reduce(getattr, name.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        more = f"; {advice}" if advice else ""
        raise ImportError(f"{option}={path!r} cannot be imported: {error}{more}") from error
