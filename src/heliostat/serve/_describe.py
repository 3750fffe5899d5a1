"""What the REST interface tells of deployments beside their status: plain data for JSON.

`details.py` has the models of it. It knows neither HTTP nor the controller, and changes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from heliostat.serve._replica_actors import ReplicaActors
from heliostat.serve._specs import DeploymentSpec
from heliostat.serve._state import DeploymentState
from heliostat.serve.config import DeploymentConfig

# Options that are plain data, with the names they have in a file.
_PLAIN = (
    "num_replicas", "max_ongoing_requests", "max_queued_requests", "graceful_shutdown_wait_loop_s",
    "graceful_shutdown_timeout_s", "health_check_period_s", "health_check_timeout_s",
)  # fmt: skip


class Decision(NamedTuple):
    """Autoscaling wanted another number of replicas."""

    at: float  # by the clock on the wall
    before: int
    after: int


def deployment(
    spec: DeploymentSpec,
    state: DeploymentState,
    actors: ReplicaActors,
    decisions: Iterable[Decision],
) -> dict[str, Any]:
    """One deployment.

    Args:
        spec: What it is made of.
        state: Which replicas it has, and shall have.
        actors: Their processes.
        decisions: What autoscaling wanted lately, the last one last.
    """
    needs = {"CPU": 1, **_resources(spec.config)}
    return {
        "name": spec.name,
        "deployment_config": _options(spec),
        "target_num_replicas": state.target.num_replicas,
        "required_resources": needs,
        "replicas": [
            {
                "replica_id": name,
                "actor_name": name,
                "state": str(is_),
                "pid": actors.pids.get(name),
                "start_time_s": actors.began.get(name, 0.0),
            }
            for name, is_ in state.replicas().items()
        ],
        "autoscaling_detail": _autoscaling(spec.config, str(state.overview().status), decisions),
    }


def health(began: float, tasks: int) -> dict[str, Any]:
    """The controller's process.

    Args:
        began: When it began, by the clock on the wall.
        tasks: How many it works on.
    """
    now = time.time()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "timestamp": now,
        "controller_start_time": began,
        "uptime_s": now - began,
        "num_asyncio_tasks": tasks,
        "process_memory_mb": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
    }


def _resources(config: DeploymentConfig) -> dict[str, float]:
    options = config.ray_actor_options
    named = {"CPU": options.get("num_cpus"), "GPU": options.get("num_gpus")}
    found = {name: amount for name, amount in named.items() if amount is not None}
    return {**found, **options.get("resources", {})}


def _options(spec: DeploymentSpec) -> dict[str, Any]:
    config = spec.config
    told: dict[str, Any] = {"name": spec.name, **{n: getattr(config, n) for n in _PLAIN}}
    told["ray_actor_options"] = dict(config.ray_actor_options)
    if config.user_config is not None:
        told["user_config"] = config.user_config
    if config.autoscaling_config is not None:
        scaling = asdict(config.autoscaling_config)
        scaling.pop("policy", None)  # may be a function
        told["autoscaling_config"] = scaling
    return told


def _autoscaling(
    config: DeploymentConfig, status: str, decisions: Iterable[Decision]
) -> dict[str, Any] | None:
    if config.autoscaling_config is None:
        return None
    policy = config.autoscaling_config.policy.policy_function
    name = policy if isinstance(policy, str) else getattr(policy, "__qualname__", repr(policy))
    return {
        "scaling_status": status if status in ("UPSCALING", "DOWNSCALING") else "STABLE",
        "decisions": [
            {
                "timestamp_s": decision.at,
                "reason": "the policy asked for it",
                "prev_num_replicas": decision.before,
                "curr_num_replicas": decision.after,
                "policy": name,
            }
            for decision in decisions
        ],
    }
