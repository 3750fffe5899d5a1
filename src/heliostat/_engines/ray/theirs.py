"""The real Ray, whatever the name `ray` means to the program."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from typing import Any

from heliostat import _alias
from heliostat._version import __version__

LEAST, BELOW = (2, 60), (3, 0)
_RANGE = "ray>=2.60,<3"


@functools.cache
def ray() -> Any:
    """Ray's own module; an ImportError says what to install."""
    _alias.share()
    if "ray" not in sys.modules and not getattr(importlib.util.find_spec("ray"), "origin", None):
        raise ImportError(
            "the ray engine needs Ray itself, which is not installed here: "
            f"pip install 'heliostat[ray]=={__version__}' (that is {_RANGE})"
        )
    module = importlib.import_module("ray")
    check_version(getattr(module, "__version__", "0"))
    return module


def check_version(version: str) -> None:
    """Refuse a Ray that this engine was not written for.

    Example:
        >>> check_version("2.60.1")
    """
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if not LEAST <= found < BELOW:
        raise ImportError(
            f"the ray engine needs {_RANGE}, and Ray {version} is installed here: "
            f"pip install '{_RANGE}', the same version as the cluster's"
        )


def module(name: str) -> Any:
    """A module of Ray's: `module("util.state")`."""
    ray()
    return importlib.import_module(f"ray.{name}")
