"""Specs: what the controller is told to run."""

from __future__ import annotations

from typing import Any, NamedTuple

import heliostat as ray
from heliostat.serve.config import DeploymentConfig


class DeploymentSpec(NamedTuple):
    """One deployment as the controller gets it; user code only as a reference."""

    name: str
    config: DeploymentConfig
    version: str
    payload: list[ray.ObjectRef[Any]]  # (class or function, args, kwargs), not to be read here


class ApplicationSpec(NamedTuple):
    """An application as the controller gets it; the ingress is the last deployment."""

    name: str
    route_prefix: str | None
    deployments: list[DeploymentSpec]
