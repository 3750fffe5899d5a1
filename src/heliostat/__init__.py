"""Heliostat: Ray's AI libraries on a fast embedded engine for one machine.

Core's names are here; `data`, `train`, `tune`, `serve` and `util` load on first touch.
"""

from __future__ import annotations

import importlib
from typing import Any

from heliostat import actor, exceptions
from heliostat._core.actors import ActorClass, ActorHandle, method
from heliostat._core.api import cancel, get, get_actor, kill, put, wait
from heliostat._core.context import get_gpu_ids, get_runtime_context, timeline
from heliostat._core.ids import ActorID, NodeID, ObjectID, TaskID
from heliostat._core.refs import ObjectRef, ObjectRefGenerator
from heliostat._core.remote import RemoteFunction, remote
from heliostat._core.session import (
    RayContext,
    available_resources,
    cluster_resources,
    init,
    is_initialized,
    nodes,
    shutdown,
)
from heliostat._version import __version__

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorID",
    "LoggingConfig",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "RayContext",
    "RemoteFunction",
    "TaskID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "wait",
]

# Names of Ray's that few programs touch, and where they are.
_SELDOM = {
    "ActorClassID": "_core.ids",
    "ClientBuilder": "client_builder",
    "DynamicObjectRefGenerator": "_core.dynamic",
    "FunctionID": "_core.ids",
    "JobID": "_core.ids",
    "Language": "types",
    "PlacementGroupID": "_core.ids",
    "SCRIPT_MODE": "types",
    "UniqueID": "_core.ids",
    "WORKER_MODE": "types",
    "WorkerID": "_core.ids",
    "client": "client_builder",
}
_LAZY = (
    "air",
    "autoscaler",
    "data",
    "experimental",
    "job_submission",
    "train",
    "tune",
    "serve",
    "util",
    "dag",
    "runtime_context",
    "runtime_env",
    "types",
    "placement",
    "strategies",
)


def __getattr__(name: str) -> Any:
    if name == "LoggingConfig":  # `logging` is slow to import
        return importlib.import_module("heliostat._core.logging_config").LoggingConfig
    if name in _LAZY:
        return importlib.import_module(f"heliostat.{name}")
    if name in _SELDOM:
        return getattr(importlib.import_module(f"heliostat.{_SELDOM[name]}"), name)
    if name.startswith("_"):  # the import system asks so for a module of ours not loaded yet
        raise AttributeError(f"heliostat has no {name!r}")
    instead = importlib.import_module("heliostat._alias").INSTEAD.get(name)
    raise AttributeError(f"heliostat has no {name!r}" + (f": {instead}" if instead else ""))


def __dir__() -> list[str]:
    return sorted([*__all__, *_LAZY, *_SELDOM])
