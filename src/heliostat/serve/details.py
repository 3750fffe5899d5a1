"""What GET /api/serve/applications/ answers, as models that read it back: ServeInstanceDetails.

`heliostat.serve.schema` has these names, and loads this file with the first touch, since it needs
pydantic. It knows nothing of how the facts are found: that are `_controller.py` and `_rest.py`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from heliostat.serve.schema import (
    ApplicationStatus,
    DeploymentStatus,
    DeploymentStatusTrigger,
    ProxyStatus,
    ReplicaState,
)
from heliostat.serve.server_options import ProxyLocation


class _Facts(BaseModel):
    # A newer server may tell more than this version knows.
    model_config = ConfigDict(frozen=True, extra="ignore")


class APIType(StrEnum):
    """Where an application came from: code or a file."""

    UNKNOWN = "unknown"
    IMPERATIVE = "imperative"
    DECLARATIVE = "declarative"

    @classmethod
    def get_valid_user_values(cls) -> list[str]:
        """Those that one may ask for.

        Example:
            >>> APIType.get_valid_user_values()
            ['imperative', 'declarative']
        """
        return [cls.IMPERATIVE.value, cls.DECLARATIVE.value]


class AutoscalingStatus(StrEnum):
    """What autoscaling does with a deployment."""

    UPSCALING = "UPSCALING"
    DOWNSCALING = "DOWNSCALING"
    STABLE = "STABLE"


class AutoscalingMetricsHealth(StrEnum):
    """Whether the replicas' loads arrive."""

    HEALTHY = "healthy"
    DELAYED = "delayed"
    UNAVAILABLE = "unavailable"


class HTTPOptionsSchema(_Facts):
    """How Serve listens, as `http_options` of a file."""

    host: str = "127.0.0.1"
    port: int = 8000
    root_path: str = ""
    request_timeout_s: float | None = None
    keep_alive_timeout_s: float = 90
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None


class gRPCOptionsSchema(_Facts):
    """What is offered over gRPC, as `grpc_options` of a file."""

    port: int = 9000
    grpc_servicer_functions: list[str] = []
    request_timeout_s: float | None = None
    enable_reflection: bool = True


class RayActorOptionsSchema(_Facts):
    """What each replica takes, as `ray_actor_options` of a deployment.

    Example:
        >>> RayActorOptionsSchema(num_cpus=2).model_dump(exclude_unset=True)
        {'num_cpus': 2.0}
    """

    runtime_env: dict[str, Any] = {}
    num_cpus: float | None = Field(default=None, ge=0)
    num_gpus: float | None = Field(default=None, ge=0)
    memory: float | None = Field(default=None, ge=0)
    resources: dict[str, float] = {}
    accelerator_type: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None


class ScaleDeploymentRequest(_Facts):
    """The body of POST /api/v1/applications/APP/deployments/NAME/scale.

    Example:
        >>> ScaleDeploymentRequest(target_num_replicas=3).model_dump_json()
        '{"target_num_replicas":3}'
    """

    target_num_replicas: NonNegativeInt


class ServeActorDetails(_Facts):
    """An actor of Serve's own."""

    node_id: str | None = None
    node_ip: str | None = None
    node_instance_id: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    worker_id: str | None = None
    log_file_path: str | None = None


class ReplicaDetails(ServeActorDetails):
    """One replica; `pid` is None until its process is known."""

    replica_id: str
    state: ReplicaState
    pid: int | None = None
    start_time_s: float


class ProxyDetails(ServeActorDetails):
    """Who takes the requests."""

    status: ProxyStatus


class ScalingDecision(_Facts):
    """A change of the number of replicas that autoscaling asked for."""

    timestamp_s: float
    reason: str
    prev_num_replicas: NonNegativeInt
    curr_num_replicas: NonNegativeInt
    policy: str | None = None


class DeploymentAutoscalingDetail(_Facts):
    """What autoscaling did with a deployment, the last decisions last."""

    scaling_status: AutoscalingStatus
    decisions: list[ScalingDecision] = []
    metrics: dict[str, Any] | None = None
    metrics_health: AutoscalingMetricsHealth = AutoscalingMetricsHealth.HEALTHY
    errors: list[str] = []


class DeploymentDetails(_Facts):
    """A deployment of an application; `deployment_config` holds the options in force."""

    name: str
    status: DeploymentStatus
    status_trigger: DeploymentStatusTrigger
    message: str
    deployment_config: dict[str, Any]
    target_num_replicas: NonNegativeInt
    required_resources: dict[str, Any]
    replicas: list[ReplicaDetails]
    autoscaling_detail: DeploymentAutoscalingDetail | None = None


class ApplicationDetails(_Facts):
    """An application; `deployed_app_config` is its part of the file, if one was deployed."""

    name: str
    route_prefix: str | None
    docs_path: str | None
    status: ApplicationStatus
    message: str
    last_deployed_time_s: float
    deployed_app_config: dict[str, Any] | None = None
    source: APIType = APIType.UNKNOWN
    deployments: dict[str, DeploymentDetails]
    external_scaler_enabled: bool = False


class Target(_Facts):
    """An address that takes requests."""

    ip: str
    port: int
    instance_id: str
    name: str


class TargetGroup(_Facts):
    """The addresses of a route, for a load balancer in front of Serve."""

    targets: list[Target]
    route_prefix: str
    protocol: str
    app_name: str = ""


class DurationStats(_Facts):
    """Mean, spread and ends of some durations.

    Example:
        >>> DurationStats.from_values([1.0, 3.0])
        DurationStats(mean=2.0, std=1.0, min=1.0, max=3.0)
    """

    mean: float = 0.0
    std: float = 0.0
    min: float = 0.0
    max: float = 0.0

    @classmethod
    def from_values(cls, values: Sequence[float]) -> DurationStats:
        """Those of these values; all 0 for none."""
        if not values:
            return cls()
        mean, std = statistics.fmean(values), statistics.pstdev(values)
        return cls(mean=mean, std=std, min=min(values), max=max(values))


class ControllerHealthMetrics(_Facts):
    """How Serve's controller is. It acts on events and has no loop whose rounds could be counted."""

    timestamp: float = 0.0
    controller_start_time: float = 0.0
    uptime_s: float = 0.0
    event_loop_delay_s: float = 0.0
    num_asyncio_tasks: int = 0
    process_memory_mb: float = 0.0
    replica_metrics_delay_ms: DurationStats | None = None


class ServeInstanceDetails(_Facts):
    """All that GET /api/serve/applications/ tells.

    Example:
        >>> empty = ServeInstanceDetails.get_empty_schema_dict()
        >>> ServeInstanceDetails(**empty).applications
        {}
    """

    controller_info: ServeActorDetails = ServeActorDetails()
    proxy_location: ProxyLocation | None = None
    http_options: HTTPOptionsSchema | None = None
    grpc_options: gRPCOptionsSchema | None = None
    proxies: dict[str, ProxyDetails]
    applications: dict[str, ApplicationDetails]
    target_capacity: float | None = None
    target_groups: list[TargetGroup] = []
    controller_health_metrics: ControllerHealthMetrics = ControllerHealthMetrics()

    @staticmethod
    def get_empty_schema_dict() -> dict[str, Any]:
        """What is told when Serve does not run."""
        return {"controller_info": {}, "proxies": {}, "applications": {}, "target_capacity": None}
