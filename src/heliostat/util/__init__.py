"""Small tools above Core, for users and for the libraries alike; Ray's `ray.util`.

`progress` shows how far long work has come.

The names of Ray's `ray.util` are here; a module is imported when it is first touched.
"""

from __future__ import annotations

import importlib
import os
import socket
from typing import Any

from heliostat.actor import list_named_actors

# Imported now, and not on first touch: the name of a function here is that of its module, too, which
# would take its place when somebody imports it later.
from heliostat.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

__all__ = [
    "ActorPool",
    "as_completed",
    "connect",
    "deregister_serializer",
    "disable_log_once_globally",
    "disconnect",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
]

_HOMES = {
    "ActorPool": "actor_pool",
    "as_completed": "completion",
    "connect": "client_connect",
    "deregister_serializer": "serialization",
    "disable_log_once_globally": "once",
    "disconnect": "client_connect",
    "enable_periodic_logging": "once",
    "inspect_serializability": "serializability",
    "log_once": "once",
    "map_unordered": "completion",
    "register_serializer": "serialization",
}
_MODULES = (
    "accelerators", "actor_pool", "client_connect", "collective", "completion", "dask", "joblib",
    "metrics", "multiprocessing", "once", "progress", "queue", "rpdb", "scheduling_strategies",
    "serializability", "serialization", "state", "tpu",
)  # fmt: skip


def get_node_ip_address(address: str | None = None) -> str:
    """The address of this machine as its own processes reach it; nothing listens on another.

    Args:
        address: "host:port" of somebody else: as that one would see this machine. Nothing is sent.

    Raises:
        ValueError: For an address without a port.
        OSError: If there is no way to it.

    Example:
        >>> from heliostat.util import get_node_ip_address
        >>> get_node_ip_address(), get_node_ip_address("127.0.0.1:53")
        ('127.0.0.1', '127.0.0.1')
    """
    if address is None:
        return "127.0.0.1"
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f'address must be "host:port", got {address!r}')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))
        return str(probe.getsockname()[0])


def get_node_instance_id() -> str:
    """What a cloud calls this machine, where RAY_CLOUD_INSTANCE_ID says it; otherwise nothing."""
    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")


def __getattr__(name: str) -> Any:
    if name == "pdb":  # Ray's other name for it
        name = "rpdb"
    if name in _MODULES:
        return importlib.import_module(f"heliostat.util.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"heliostat.util.{_HOMES[name]}"), name)
    raise AttributeError(f"heliostat.util has no {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
