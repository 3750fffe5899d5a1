"""Specs: what the controller is told to run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.serve.config import DeploymentConfig
from heliostat.serve.logging_config import LoggingConfig


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

    def with_logging(self, default: LoggingConfig | None) -> ApplicationSpec:
        """With what all of Serve logs, for deployments that say nothing of that."""
        if default is None:
            return self
        configs = [d.config for d in self.deployments]
        logged = [replace(c, logging_config=c.logging_config or default) for c in configs]
        pairs = zip(self.deployments, logged, strict=True)
        return self._replace(deployments=[d._replace(config=config) for d, config in pairs])
