"""Scaling: what is known of one deployment's load, put before its Autoscaler.

Numbers of calls that wait come from many processes, loads from replicas. It knows no actors.
"""

from __future__ import annotations

import logging

from heliostat.serve._autoscaler import Autoscaler, Measured, PolicyFailed
from heliostat.serve.autoscaling import AutoscalingConfig, DeploymentID
from heliostat.serve.config import DeploymentConfig

logger = logging.getLogger("heliostat.serve")

_BELIEVED_S = 60.0  # a process that says no more of its waiting calls may be dead


class Scaling:
    """How many replicas a deployment is to have: a number, or what its load asks for.

    Args:
        deployment: Which.
    """

    def __init__(self, deployment: DeploymentID) -> None:
        self._deployment = deployment
        self._autoscaler: Autoscaler | None = None
        self._config: AutoscalingConfig | None = None
        self._queued: dict[str, tuple[int, float]] = {}

    @property
    def interval_s(self) -> float | None:
        """How often to measure; None when nothing depends on it."""
        return None if self._config is None else self._config.metrics_interval_s

    def configure(self, config: DeploymentConfig) -> int:
        """Options from now on; returns how many replicas to have."""
        scaling, self._config = config.autoscaling_config, config.autoscaling_config
        if scaling is None:
            self._autoscaler = None
            return config.num_replicas
        known = self._autoscaler
        number = scaling.first_replicas
        if known is not None:  # what the load has asked for so far goes on, within the new bounds
            number = min(max(known.target, scaling.min_replicas), scaling.max_replicas)
        default = scaling.policy.is_default_policy_function()
        policy = None if default else scaling.policy.get_policy()
        self._autoscaler = Autoscaler(self._deployment, scaling, number, policy)
        return number

    def queued(self, caller: str, number: int, now: float) -> None:
        """So many requests of a caller have no replica yet."""
        if number:
            self._queued[caller] = number, now
        else:
            self._queued.pop(caller, None)

    def measured(self, loads: dict[str, float], now: float) -> int | None:
        """The loads of all replicas; returns how many replicas to have, if that has changed."""
        if self._autoscaler is None:
            return None
        for caller, (_, since) in list(self._queued.items()):
            if now - since > _BELIEVED_S:
                del self._queued[caller]
        queued = sum(number for number, _ in self._queued.values())
        changed: int | None = None
        for command in self._autoscaler.handle(Measured(loads, queued), now):
            if isinstance(command, PolicyFailed):
                name, error = self._deployment.name, command.error
                logger.error("the autoscaling policy of %s failed", name, exc_info=error)
            else:
                changed = command.num_replicas
        return changed
