"""Autoscaling as users write it down: AutoscalingConfig, a policy and what it is given.

Values only; `_autoscaler.py` decides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, NamedTuple

from heliostat.serve._by_path import found_at
from heliostat.serve._checks import positive, whole

_DEFAULT_POLICY = "heliostat.serve.autoscaling:replica_queue_length_autoscaling_policy"


class DeploymentID(NamedTuple):
    """A deployment of an application."""

    name: str
    app_name: str = "default"


class AggregationFunction(StrEnum):
    """What of the measurements of the look-back period counts."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True)
class AutoscalingPolicy:
    """Who finds the number of replicas.

    Args:
        policy_function: A function of an AutoscalingContext that returns the number and a dict,
            which is `policy_state` the next time; or where it is, as "module:name". It runs in
            Serve's controller. A class is made once and then called.
        policy_kwargs: For the class; values of JSON.

    Raises:
        TypeError: When it is neither a function nor a string, or kwargs are not of JSON.
    """

    policy_function: str | Callable[..., Any] = _DEFAULT_POLICY
    policy_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.policy_function, str) and not callable(self.policy_function):
            raise TypeError(
                f"policy_function must be a function or 'module:name', got {self.policy_function!r}"
            )
        json.dumps(dict(self.policy_kwargs))

    def is_default_policy_function(self) -> bool:
        """Whether it is the one that looks at queue lengths."""
        return self.policy_function in (_DEFAULT_POLICY, replica_queue_length_autoscaling_policy)

    def get_policy(self) -> Callable[..., Any]:
        """The function.

        Raises:
            ImportError: When it is not where `policy_function` says.
        """
        policy = self.policy_function
        if isinstance(policy, str):
            policy = found_at(policy, "policy_function")
        if isinstance(policy, type):
            policy = policy(**self.policy_kwargs)
        return policy


@dataclass(frozen=True)
class AutoscalingConfig:
    """How many replicas a deployment has, by load.

    Args:
        min_replicas: The least; 0 lets the deployment sleep, and a request wakes it.
        initial_replicas: Where to begin; `min_replicas` unless given.
        max_replicas: The most.
        target_ongoing_requests: How many requests a replica should work on at a time.
        metrics_interval_s: How often the load is measured.
        look_back_period_s: Over which time measurements are put together.
        smoothing_factor: Deprecated; both factors below.
        upscale_smoothing_factor: Deprecated; `upscaling_factor`.
        downscale_smoothing_factor: Deprecated; `downscaling_factor`.
        upscaling_factor: How much of the way up is gone at a time; 1 unless given.
        downscaling_factor: The same for the way down.
        downscale_delay_s: How long the load must be low.
        downscale_to_zero_delay_s: The same for the last replica.
        upscale_delay_s: How long the load must be high.
        aggregation_function: "mean", "max" or "min" of the measurements.
        policy: Another way to find the number: an AutoscalingPolicy, a function, or a dict.

    Raises:
        ValueError: For bounds that contradict each other.
        TypeError: For values of the wrong kind.

    Example:
        >>> from heliostat.serve.config import AutoscalingConfig
        >>> AutoscalingConfig(min_replicas=0, max_replicas=4).target_ongoing_requests
        2
    """

    min_replicas: int = 1
    initial_replicas: int | None = None
    max_replicas: int = 1
    target_ongoing_requests: float = 2
    metrics_interval_s: float = 10.0
    look_back_period_s: float = 30.0
    smoothing_factor: float = 1.0
    upscale_smoothing_factor: float | None = None
    downscale_smoothing_factor: float | None = None
    upscaling_factor: float | None = None
    downscaling_factor: float | None = None
    downscale_delay_s: float = 600.0
    downscale_to_zero_delay_s: float | None = None
    upscale_delay_s: float = 30.0
    aggregation_function: str = AggregationFunction.MEAN
    policy: Any = field(default_factory=AutoscalingPolicy)  # always an AutoscalingPolicy, made

    def __post_init__(self) -> None:
        whole("min_replicas", self.min_replicas, 0)
        whole("max_replicas", self.max_replicas, 1)
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas ({self.max_replicas}) must be >= min_replicas ({self.min_replicas})"
            )
        initial = self.initial_replicas
        if initial is not None:
            whole("initial_replicas", initial, 0)
        if initial is not None and not self.min_replicas <= initial <= self.max_replicas:
            raise ValueError(
                f"initial_replicas ({initial}) must be between min_replicas "
                f"({self.min_replicas}) and max_replicas ({self.max_replicas})"
            )
        self._check_numbers()
        try:
            object.__setattr__(
                self, "aggregation_function", AggregationFunction(self.aggregation_function)
            )
        except ValueError:
            raise ValueError(
                "aggregation_function must be 'mean', 'max' or 'min', got "
                f"{self.aggregation_function!r}"
            ) from None
        if not isinstance(self.policy, AutoscalingPolicy):
            policy = (
                AutoscalingPolicy(**self.policy)
                if isinstance(self.policy, Mapping)
                else AutoscalingPolicy(self.policy)
            )
            object.__setattr__(self, "policy", policy)

    def _check_numbers(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name.endswith(("_factor", "_interval_s", "_period_s", "_requests")):
                if value is not None:
                    positive(each.name, value)
            elif each.name.endswith("_delay_s") and value is not None:
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise TypeError(f"{each.name} must be a number, got {value!r}")
                if not value >= 0:
                    raise ValueError(f"{each.name} must be >= 0, got {value}")

    @staticmethod
    def parse(value: AutoscalingConfig | Mapping[str, Any]) -> AutoscalingConfig:
        """An AutoscalingConfig from what `autoscaling_config=` takes.

        Raises:
            TypeError: For an unknown option; the known ones are listed.
        """
        if isinstance(value, AutoscalingConfig):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"autoscaling_config must be a dict, got {value!r}")
        known = [each.name for each in fields(AutoscalingConfig)]
        for name in value:
            if name not in known:
                raise TypeError(f"autoscaling_config has no {name!r}; it takes {', '.join(known)}")
        return AutoscalingConfig(**value)

    @property
    def first_replicas(self) -> int:
        """How many to begin with."""
        return self.min_replicas if self.initial_replicas is None else self.initial_replicas

    @property
    def up_factor(self) -> float:
        """How much of the way up is gone at a time."""
        return self.upscaling_factor or self.upscale_smoothing_factor or self.smoothing_factor

    @property
    def down_factor(self) -> float:
        """How much of the way down is gone at a time."""
        return self.downscaling_factor or self.downscale_smoothing_factor or self.smoothing_factor

    def part(self, capacity: float) -> AutoscalingConfig:
        """The same with so many per cent of all numbers of replicas."""
        initial = self.initial_replicas
        return replace(
            self,
            min_replicas=part_of(self.min_replicas, capacity),
            initial_replicas=None if initial is None else part_of(initial, capacity),
            max_replicas=max(1, part_of(self.max_replicas, capacity)),
        )


def part_of(number: int, capacity: float | None) -> int:
    """So many per cent of a number of replicas: at least one of some, but none of no capacity.

    Example:
        >>> part_of(4, 50), part_of(1, 10), part_of(4, 0), part_of(4, None)
        (2, 1, 0, 4)
    """
    if capacity is None or not number:
        return number
    return max(1, math.floor(number * capacity / 100 + 0.5)) if capacity else 0


@dataclass(frozen=True)
class AutoscalingContext:
    """What a policy is given."""

    deployment_id: DeploymentID
    deployment_name: str
    app_name: str
    current_num_replicas: int
    target_num_replicas: int
    running_replicas: list[str]
    total_num_requests: float
    total_queued_requests: float
    aggregated_metrics: dict[str, dict[str, float]]
    raw_metrics: dict[str, dict[str, list[tuple[float, float]]]]
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int
    policy_state: dict[str, Any]
    last_scale_up_time: float | None
    last_scale_down_time: float | None
    current_time: float
    config: AutoscalingConfig


def replica_queue_length_autoscaling_policy(
    ctx: AutoscalingContext,
) -> tuple[float, dict[str, Any]]:
    """The policy unless another is given: requests by the target for each replica.

    Args:
        ctx: What is known of the deployment.

    Returns:
        The number of replicas, still without delays and factors; and the policy's state.
    """
    return ctx.total_num_requests / ctx.config.target_ongoing_requests, ctx.policy_state


def aggregate(method: str, values: Sequence[float]) -> float:
    """One number for the measurements of a period; 0 for none."""
    if not values:
        return 0.0
    if method == AggregationFunction.MEAN:
        return math.fsum(values) / len(values)
    return float(max(values) if method == AggregationFunction.MAX else min(values))
