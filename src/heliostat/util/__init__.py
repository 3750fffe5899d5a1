"""Small tools above Core, for users and for the libraries alike; Ray's `ray.util`.

`progress` shows how far long work has come.

The names of Ray's `ray.util` are here; a module is imported when it is first touched.
"""

from __future__ import annotations

import importlib
from typing import Any

from heliostat.actor import list_named_actors

__all__ = [
    "ActorPool",
    "as_completed",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_node_ip_address",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
]

_HOMES = {
    "ActorPool": "actor_pool",
    "as_completed": "completion",
    "disable_log_once_globally": "once",
    "enable_periodic_logging": "once",
    "inspect_serializability": "serializability",
    "log_once": "once",
    "map_unordered": "completion",
}
_MODULES = (
    "actor_pool", "completion", "joblib", "multiprocessing", "once", "progress", "queue",
    "serializability", "state",
)  # fmt: skip


def get_node_ip_address() -> str:
    """The address of this machine as its own processes reach it; nothing listens on another."""
    return "127.0.0.1"


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"heliostat.util.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"heliostat.util.{_HOMES[name]}"), name)
    raise AttributeError(f"heliostat.util has no {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
