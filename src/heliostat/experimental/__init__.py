"""Names of Ray's `ray.experimental`: `tqdm_ray`."""

from __future__ import annotations

import importlib
from typing import Any

_MODULES = ("tqdm_ray",)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"heliostat.experimental.{name}")
    raise AttributeError(f"heliostat.experimental has no {name!r}")


def __dir__() -> list[str]:
    return list(_MODULES)
