"""Specs: what the controller is told to run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.serve.autoscaling import AutoscalingPolicy
from heliostat.serve.config import DeploymentConfig
from heliostat.serve.logging_config import LoggingConfig


class ActorSpec(NamedTuple):
    """An actor that a deployment's replicas share; user code only as a reference."""

    name: str
    payload: list[ray.ObjectRef[Any]]  # a DeploymentActorConfig, not to be read here
    runtime_env: dict[str, Any] | None = None  # the deployment's, where the class is found


class DeploymentSpec(NamedTuple):
    """One deployment as the controller gets it; user code only as a reference."""

    name: str
    config: DeploymentConfig
    version: str
    payload: list[ray.ObjectRef[Any]]  # (class or function, args, kwargs), not to be read here
    actors: tuple[ActorSpec, ...] = ()

    @property
    def code_version(self) -> str:
        """A short name of the version, for those who compare."""
        return hashlib.sha256(self.version.encode()).hexdigest()[:16]


class ApplicationSpec(NamedTuple):
    """An application as the controller gets it; the ingress is the last deployment."""

    name: str
    route_prefix: str | None
    deployments: list[DeploymentSpec]
    external_scaler_enabled: bool = False  # `Controller.scale` may be called
    target_capacity: float | None = None  # what part of the replicas to have, in per cent
    autoscaling_policy: AutoscalingPolicy | None = None  # for all deployments together

    def with_logging(self, default: LoggingConfig | None) -> ApplicationSpec:
        """With what all of Serve logs, for deployments that say nothing of that."""
        if default is None:
            return self
        configs = [d.config for d in self.deployments]
        logged = [replace(c, logging_config=c.logging_config or default) for c in configs]
        pairs = zip(self.deployments, logged, strict=True)
        return self._replace(deployments=[d._replace(config=config) for d, config in pairs])
