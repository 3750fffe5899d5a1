"""Autoscaler: how many replicas a deployment should have, by load. Pure.

Measurements in, numbers out; time is an argument. It knows neither replicas nor actors: the
controller measures, and passes numbers on to the DeploymentState. A policy of the user's is
called here; what it raises leaves the number as it is, and comes out for somebody to tell.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from heliostat.serve.autoscaling import (
    AutoscalingConfig,
    AutoscalingContext,
    DeploymentID,
    aggregate,
)

_EPSILON_S = 1e-6  # sums of floats: a delay that has passed must count as passed


class Measured(NamedTuple):
    """How many requests there are now."""

    loads: Mapping[str, float]  # by replica: those that run or wait in it, on average
    queued: int  # those that have no replica yet
    stats: Mapping[str, Mapping[str, float]] = {}


class Scale(NamedTuple):
    """Have so many replicas."""

    num_replicas: int


class PolicyFailed(NamedTuple):
    """The user's policy raised, or gave no number; the number of replicas stays."""

    error: Exception


Command = Scale | PolicyFailed


class Autoscaler:
    """Decides for one deployment.

    A number changes when the load has asked for it without a break for `upscale_delay_s`, or
    `downscale_delay_s`; from zero it changes at once, and to zero only from one.

    Args:
        deployment: For the policy's context.
        config: Bounds and delays.
        num_replicas: How many are wanted to begin with.
        policy: Another way to find the number, by the context; None for the queue lengths.
    """

    def __init__(
        self,
        deployment: DeploymentID,
        config: AutoscalingConfig,
        num_replicas: int,
        policy: Callable[[AutoscalingContext], Any] | None = None,
    ) -> None:
        self._deployment = deployment
        self._config = config
        self._policy = policy
        self.target = num_replicas
        self._measured: deque[tuple[float, Measured]] = deque()
        self._state: dict[str, Any] = {}
        self._wanted_since: tuple[int, float] | None = None  # (1 up or -1 down, when first)
        self._last_up: float | None = None
        self._last_down: float | None = None
        self._failed: list[Command] = []

    def handle(self, event: Measured, now: float) -> list[Command]:
        """Take a measurement in; at most one number comes out, and why the policy gave none."""
        self._failed = []
        self._measured.append((now, event))
        self._forget_old(now)
        decision = self._decide(event, now)
        decision = self._bounded(decision)
        if decision == self.target:
            return self._failed
        if decision > self.target:
            self._last_up = now
        else:
            self._last_down = now
        self.target = decision
        self._wanted_since = None
        return [*self._failed, Scale(decision)]

    @property
    def total(self) -> float:
        """How many requests there were, over the look-back period."""
        return sum(self._running().values()) + self._queued()

    def check(self) -> None:
        """Assert what must always be true."""
        assert self._config.min_replicas <= self.target <= self._config.max_replicas

    def _bounded(self, number: int) -> int:
        return min(max(number, self._config.min_replicas), self._config.max_replicas)

    def _forget_old(self, now: float) -> None:
        period = self._config.look_back_period_s
        while len(self._measured) > 1 and self._measured[0][0] < now - period - _EPSILON_S:
            self._measured.popleft()

    def _decide(self, latest: Measured, now: float) -> int:
        if self.target == 0 and (latest.queued or any(latest.loads.values())):
            return max(1, math.ceil(self._config.up_factor))
        wanted = self._wanted(latest, now)
        if wanted is None or wanted == self.target:
            self._wanted_since = None
            return self.target
        direction = 1 if wanted > self.target else -1
        if self._wanted_since is None or self._wanted_since[0] != direction:
            self._wanted_since = direction, now
        if now - self._wanted_since[1] + _EPSILON_S < self._delay_s(wanted):
            return self.target
        return wanted

    def _wanted(self, latest: Measured, now: float) -> int | None:
        """The number that the load asks for, within bounds; None when the policy fails."""
        if self._policy is None:
            raw: Any = self.total / self._config.target_ongoing_requests
        else:
            try:
                raw = self._asked(self._policy, self._context(latest, now))
            except Exception as error:  # noqa: BLE001 - the user's code
                self._failed = [PolicyFailed(error)]
                return None
        wanted = self._bounded(self._scaled(raw))
        # To zero from one only, so that the last step waits for its own delay.
        return wanted if wanted or self.target <= 1 else 1

    def _asked(
        self, policy: Callable[[AutoscalingContext], Any], context: AutoscalingContext
    ) -> float:
        outcome = policy(context)
        number, state = outcome if isinstance(outcome, tuple) else (outcome, self._state)
        raw = float(number)
        if not math.isfinite(raw):
            raise ValueError(f"it must return a finite number of replicas, got {number!r}")
        self._state = state
        return raw

    def _scaled(self, raw: float) -> int:
        """Only a part of the way, where the factors say so; but never none of it."""
        delta = raw - self.target
        if self.target == 0 or delta == 0:
            return max(0, math.ceil(raw))
        factor = self._config.up_factor if delta > 0 else self._config.down_factor
        scaled = math.ceil(self.target + factor * delta - _EPSILON_S)
        if scaled == self.target and math.ceil(raw) < self.target:
            scaled -= 1
        return max(0, scaled)

    def _delay_s(self, wanted: int) -> float:
        config = self._config
        if wanted > self.target:
            return config.upscale_delay_s
        to_zero = config.downscale_to_zero_delay_s
        return config.downscale_delay_s if wanted or to_zero is None else to_zero

    def _running(self) -> dict[str, float]:
        """By living replica, over the look-back period."""
        latest = self._measured[-1][1].loads if self._measured else {}
        method = self._config.aggregation_function
        return {
            name: aggregate(method, [m.loads[name] for _, m in self._measured if name in m.loads])
            for name in latest
        }

    def _queued(self) -> float:
        queued = [measured.queued for _, measured in self._measured]
        return aggregate(self._config.aggregation_function, queued)

    def _own(self, latest: Measured) -> dict[str, dict[str, list[tuple[float, float]]]]:
        """What living replicas have recorded of themselves: by metric, by replica, over time."""
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for at, measured in self._measured:
            for name, stats in measured.stats.items():
                for metric, value in stats.items() if name in latest.loads else ():
                    found.setdefault(metric, {}).setdefault(name, []).append((at, value))
        return found

    def _context(self, latest: Measured, now: float) -> AutoscalingContext:
        config, own = self._config, self._own(latest)
        return AutoscalingContext(
            deployment_id=self._deployment,
            deployment_name=self._deployment.name,
            app_name=self._deployment.app_name,
            current_num_replicas=len(latest.loads),
            target_num_replicas=self.target,
            running_replicas=list(latest.loads),
            total_num_requests=self.total,
            total_queued_requests=self._queued(),
            aggregated_metrics={
                "ongoing_requests": self._running(),
                **{
                    metric: {
                        name: aggregate(config.aggregation_function, [v for _, v in values])
                        for name, values in by_replica.items()
                    }
                    for metric, by_replica in own.items()
                },
            },
            raw_metrics={
                "ongoing_requests": {
                    name: [(at, m.loads[name]) for at, m in self._measured if name in m.loads]
                    for name in latest.loads
                },
                **own,
            },
            capacity_adjusted_min_replicas=config.min_replicas,
            capacity_adjusted_max_replicas=config.max_replicas,
            policy_state=dict(self._state),
            last_scale_up_time=self._last_up,
            last_scale_down_time=self._last_down,
            current_time=now,
            config=config,
        )
