"""Scaling: what is known of one deployment's load, put before its Autoscaler.

Numbers of calls that wait come from many processes, loads from replicas. It knows no actors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from heliostat.serve._autoscaler import Autoscaler, Measured, PolicyFailed
from heliostat.serve.autoscaling import (
    AutoscalingConfig,
    AutoscalingContext,
    DeploymentID,
    part_of,
)
from heliostat.serve.config import DeploymentConfig

logger = logging.getLogger("heliostat.serve")

_BELIEVED_S = 60.0  # a process that says no more of its waiting calls may be dead


class ApplicationPolicy:
    """A policy that finds the numbers of all deployments of an application.

    It is asked whenever one of them was measured, with what is known last of the others.

    Args:
        policy: Takes a dict of AutoscalingContexts by DeploymentID; returns a dict of numbers, and
            one of states.
    """

    def __init__(self, policy: Callable[[dict[DeploymentID, AutoscalingContext]], Any]) -> None:
        self._policy = policy
        self._contexts: dict[DeploymentID, AutoscalingContext] = {}

    def ask(self, context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        """The number of the deployment that was measured, and its state."""
        id_ = context.deployment_id
        self._contexts[id_] = context
        outcome = self._policy(dict(self._contexts))
        numbers, states = outcome if isinstance(outcome, tuple) else (outcome, {})
        state = (states or {}).get(id_, context.policy_state)
        return numbers.get(id_, context.target_num_replicas), state


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

    def configure(
        self,
        config: DeploymentConfig,
        capacity: float | None = None,
        together: ApplicationPolicy | None = None,
    ) -> int:
        """Options from now on; returns how many replicas to have.

        Args:
            config: The deployment's.
            capacity: What part of them to have, in per cent; all, unless given.
            together: Who finds the numbers of all deployments of the application.
        """
        scaling = config.autoscaling_config
        if scaling is not None and capacity is not None:
            scaling = scaling.part(capacity)
        if capacity == 0:
            scaling = None  # whatever the load: it is not even measured
        self._config = scaling
        if scaling is None:
            self._autoscaler = None
            return part_of(config.num_replicas, capacity)
        known = self._autoscaler
        number = scaling.first_replicas
        if known is not None:  # what the load has asked for so far goes on, within the new bounds
            number = min(max(known.target, scaling.min_replicas), scaling.max_replicas)
        default = scaling.policy.is_default_policy_function()
        policy = None if default else scaling.policy.get_policy()
        if together is not None:
            policy = together.ask
        self._autoscaler = Autoscaler(self._deployment, scaling, number, policy)
        return number

    def queued(self, caller: str, number: int, now: float) -> None:
        """So many requests of a caller have no replica yet."""
        if number:
            self._queued[caller] = number, now
        else:
            self._queued.pop(caller, None)

    def measured(
        self,
        loads: Mapping[str, float],
        now: float,
        stats: Mapping[str, Mapping[str, float]] | None = None,
    ) -> int | None:
        """How many replicas to have, if that has changed.

        Args:
            loads: Of each replica.
            now: The time.
            stats: What replicas have recorded of themselves.
        """
        if self._autoscaler is None:
            return None
        for caller, (_, since) in list(self._queued.items()):
            if now - since > _BELIEVED_S:
                del self._queued[caller]
        queued = sum(number for number, _ in self._queued.values())
        changed: int | None = None
        for command in self._autoscaler.handle(Measured(loads, queued, stats or {}), now):
            if isinstance(command, PolicyFailed):
                name, error = self._deployment.name, command.error
                logger.error("the autoscaling policy of %s failed", name, exc_info=error)
            else:
                changed = command.num_replicas
        return changed
