"""What `serve.status()` returns, and what a config file holds, with Ray's names.

It knows nothing of how states come about: that is `_state.py`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from heliostat.serve.context import ReplicaRank
from heliostat.serve.deploy_schema import (
    DeploymentSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)
from heliostat.serve.logging_config import EncodingType, LoggingConfig
from heliostat.serve.server_options import TracingConfig

if TYPE_CHECKING:
    from heliostat.serve.details import (
        APIType,
        ApplicationDetails,
        AutoscalingMetricsHealth,
        AutoscalingStatus,
        ControllerHealthMetrics,
        DeploymentAutoscalingDetail,
        DeploymentDetails,
        DurationStats,
        HTTPOptionsSchema,
        ProxyDetails,
        RayActorOptionsSchema,
        ReplicaDetails,
        ScaleDeploymentRequest,
        ScalingDecision,
        ServeActorDetails,
        ServeInstanceDetails,
        Target,
        TargetGroup,
        gRPCOptionsSchema,
    )
    from heliostat.serve.task_processor import (
        TaskProcessorAdapter,
        TaskProcessorConfig,
        TaskResult,
    )

__all__ = [
    "APIType",
    "ApplicationDetails",
    "ApplicationStatus",
    "ApplicationStatusOverview",
    "AutoscalingMetricsHealth",
    "AutoscalingStatus",
    "ControllerHealthMetrics",
    "DeploymentAutoscalingDetail",
    "DeploymentDetails",
    "DeploymentSchema",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "DeploymentStatusTrigger",
    "DurationStats",
    "EncodingType",
    "HTTPOptionsSchema",
    "LoggingConfig",
    "ProxyDetails",
    "ProxyStatus",
    "RayActorOptionsSchema",
    "ReplicaDetails",
    "ReplicaRank",
    "ReplicaState",
    "ScaleDeploymentRequest",
    "ScalingDecision",
    "ServeActorDetails",
    "ServeApplicationSchema",
    "ServeDeploySchema",
    "ServeInstanceDetails",
    "ServeStatus",
    "Target",
    "TargetGroup",
    "TaskProcessorAdapter",
    "TaskProcessorConfig",
    "TaskResult",
    "TracingConfig",
    "gRPCOptionsSchema",
]


class ApplicationStatus(StrEnum):
    """How an application is."""

    NOT_STARTED = "NOT_STARTED"
    DEPLOYING = "DEPLOYING"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    RUNNING = "RUNNING"
    UNHEALTHY = "UNHEALTHY"
    DELETING = "DELETING"


class DeploymentStatus(StrEnum):
    """How a deployment is."""

    UPDATING = "UPDATING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    UPSCALING = "UPSCALING"
    DOWNSCALING = "DOWNSCALING"


class DeploymentStatusTrigger(StrEnum):
    """Why a deployment is as it is."""

    CONFIG_UPDATE_STARTED = "CONFIG_UPDATE_STARTED"
    CONFIG_UPDATE_COMPLETED = "CONFIG_UPDATE_COMPLETED"
    REPLICA_STARTUP_FAILED = "REPLICA_STARTUP_FAILED"
    DELETING = "DELETING"
    AUTOSCALING = "AUTOSCALING"


class ProxyStatus(StrEnum):
    """How a process that owns the port of a machine is."""

    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"


class ReplicaState(StrEnum):
    """The states of a replica; `_state.py` has the table of moves."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPING = "STOPPING"


@dataclass(frozen=True)
class DeploymentStatusOverview:
    """A deployment in `serve.status()`."""

    status: DeploymentStatus
    status_trigger: DeploymentStatusTrigger
    replica_states: dict[ReplicaState, int]
    message: str = ""


@dataclass(frozen=True)
class ApplicationStatusOverview:
    """An application in `serve.status()`."""

    status: ApplicationStatus
    message: str
    last_deployed_time_s: float
    deployments: dict[str, DeploymentStatusOverview]


@dataclass(frozen=True)
class ServeStatus:
    """All of Serve: `serve.status()`."""

    proxies: dict[str, ProxyStatus] = field(default_factory=dict)
    applications: dict[str, ApplicationStatusOverview] = field(default_factory=dict)
    target_capacity: float | None = None


_OF_TASKS = {"TaskProcessorAdapter", "TaskProcessorConfig", "TaskResult"}


def __getattr__(name: str) -> Any:
    """What few need is loaded with the first touch: the queue of tasks, and models in pydantic."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "task_processor" if name in _OF_TASKS else "details"
    return getattr(importlib.import_module(f"heliostat.serve.{home}"), name)
