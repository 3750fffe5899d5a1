"""Small tools above Core, for users and for the libraries alike; Ray's `ray.util`.

`progress` shows how far long work has come.

The names of Ray's `ray.util` are here; a module is imported when it is first touched.
"""

from __future__ import annotations

import importlib
from typing import Any

from heliostat.actor import list_named_actors

__all__ = ["list_named_actors"]

_MODULES = ("progress",)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"heliostat.util.{name}")
    raise AttributeError(f"heliostat.util has no {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
