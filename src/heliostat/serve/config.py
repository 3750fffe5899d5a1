"""Options of Serve, parsed once into frozen values.

The only place where they are validated. An option that is known from Ray but not offered yet
raises and says what to use instead. It does not know how the options are carried out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from heliostat.serve._by_path import found_at
from heliostat.serve._checks import not_negative, number, positive, whole
from heliostat.serve.autoscaling import (
    AggregationFunction,
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
)
from heliostat.serve.exceptions import BackPressureError
from heliostat.serve.logging_config import LoggingConfig
from heliostat.serve.server_options import (
    ControllerOptions,
    HTTPOptions,
    ProxyLocation,
    gRPCOptions,
)

__all__ = [
    "AggregationFunction",
    "AutoscalingConfig",
    "AutoscalingContext",
    "AutoscalingPolicy",
    "BackpressureConfig",
    "ControllerOptions",
    "DeploymentActorConfig",
    "DeploymentConfig",
    "HTTPOptions",
    "ProxyLocation",
    "RequestRouterConfig",
    "gRPCOptions",
]

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class BackpressureConfig:
    """What a client gets that is refused because of `max_queued_requests`.

    Args:
        status_code: 503 or 429.
        retry_after_s: The header Retry-After, rounded up to whole seconds.

    Raises:
        ValueError: For another status, or a time below 0.
    """

    status_code: int = 503
    retry_after_s: float | None = None

    def stamp(self, error: BackPressureError) -> None:
        """Let the error know what its client gets."""
        error.status_code = self.status_code
        error.retry_after_s = self.retry_after_s

    def __post_init__(self) -> None:
        if self.status_code not in (503, 429):
            raise ValueError(f"status_code must be 503 or 429, got {self.status_code!r}")
        if self.retry_after_s is not None and not 0 <= self.retry_after_s < math.inf:
            raise ValueError(f"retry_after_s must be >= 0, got {self.retry_after_s!r}")


@dataclass(frozen=True)
class RequestRouterConfig:
    """Who chooses a replica for each request.

    HTTP requests for an ingress with a router of its own pass through the controller's process,
    where the router chooses; without one a connection goes to a replica for good.

    Args:
        request_router_class: A `serve.request_router.RequestRouter`, or "module:Class"; None for
            the less busy of two.
        request_router_kwargs: For its `initialize_state`.
        request_routing_stats_period_s: How often replicas are asked for `record_routing_stats`.
        request_routing_stats_timeout_s: How long that may take.
        initial_backoff_s: Means nothing here: who waits is told at once when there is room.
        backoff_multiplier: The same.
        max_backoff_s: The same.

    Raises:
        TypeError: For what is no class and no path.
        ValueError: For a time that is not above 0.
    """

    request_router_class: str | type | None = None
    request_router_kwargs: Mapping[str, Any] = field(default_factory=dict)
    request_routing_stats_period_s: float = 10
    request_routing_stats_timeout_s: float = 30
    initial_backoff_s: float = 0.025
    backoff_multiplier: float = 2
    max_backoff_s: float = 0.5

    def __post_init__(self) -> None:
        router = self.request_router_class
        if not (router is None or isinstance(router, (str, type))):
            raise TypeError(f"request_router_class is a class or its import path, got {router!r}")
        for each in fields(self)[2:]:
            positive(each.name, getattr(self, each.name))

    @staticmethod
    def parse(value: RequestRouterConfig | Mapping[str, Any]) -> RequestRouterConfig:
        """From what `@serve.deployment(request_router_config=)` takes.

        Raises:
            ImportError: When the class is not where its path says.
            TypeError: When it is no RequestRouter.
        """
        config = RequestRouterConfig(**value) if isinstance(value, Mapping) else value
        if not isinstance(config, RequestRouterConfig):
            raise TypeError(f"request_router_config is a RequestRouterConfig, got {value!r}")
        if config.request_router_class is not None:
            config.router_class()
        return config

    def router_class(self) -> Any:
        """The class.

        Raises:
            ImportError: When it is not where its path says.
            TypeError: When it chooses no replicas.
        """
        router = self.request_router_class
        if isinstance(router, str):
            router = found_at(router, "request_router_class")
        if not callable(getattr(router, "choose_replicas", None)):
            raise TypeError(
                f"a router is a subclass of serve.request_router.RequestRouter: {router!r}"
            )
        return router


@dataclass(frozen=True)
class DeploymentActorConfig:
    """An actor that all replicas of a deployment share: `@serve.deployment(deployment_actors=[...])`.

    It is made before the replicas, made again when it dies, and ends with the deployment; an
    update that makes new replicas gives them one of their own. In a replica
    `serve.get_deployment_actor(name)` finds it.

    Args:
        name: Its name in the deployment.
        actor_class: An actor class (`@ray.remote`), a class, or "module:Class".
        init_args: For its constructor.
        init_kwargs: The same by name.
        actor_options: As `.options(...)` of an actor class takes them; its runtime_env is the
            deployment's unless given.

    Raises:
        TypeError: For a class that is none.
        ValueError: Without a name, or for options that Serve sets itself.
    """

    name: str
    actor_class: Any
    init_args: Sequence[Any] = ()
    init_kwargs: Mapping[str, Any] = field(default_factory=dict)
    actor_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a deployment actor's name is a string, not empty: {self.name!r}")
        if not isinstance(self.actor_class, (str, type)) and not hasattr(
            self.actor_class, "remote"
        ):
            raise TypeError(
                f"actor_class of {self.name!r} is a class with @ray.remote, or its import path as "
                f"'module:Class'; got {self.actor_class!r}"
            )
        for name in ("name", "namespace", "lifetime", "get_if_exists"):
            if name in self.actor_options:
                raise ValueError(f"actor_options of {self.name!r} has {name!r}, which Serve sets")

    @staticmethod
    def parse(value: object) -> tuple[DeploymentActorConfig, ...]:
        """From what `deployment_actors=` takes.

        Raises:
            TypeError: For what is no list of them.
            ValueError: For two of one name.
        """
        if value is None:
            return ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise TypeError(f"deployment_actors is a list of DeploymentActorConfig, got {value!r}")
        made = tuple(DeploymentActorConfig(**v) if isinstance(v, Mapping) else v for v in value)
        for each in made:
            if not isinstance(each, DeploymentActorConfig):
                raise TypeError(
                    f"deployment_actors has {each!r}, which is no DeploymentActorConfig"
                )
        names = [each.name for each in made]
        if len(set(names)) < len(names):
            raise ValueError(f"two deployment_actors have one name: {names}")
        return made

    def for_replicas(self, actor_options: Mapping[str, Any]) -> DeploymentActorConfig:
        """With the environment of a deployment's replicas, if it says nothing of its own."""
        environment = actor_options.get("runtime_env")
        if environment is None or "runtime_env" in self.actor_options:
            return self
        return replace(self, actor_options={**self.actor_options, "runtime_env": environment})


@dataclass(frozen=True)
class DeploymentConfig:
    """The options of one deployment, parsed."""

    version: str | None = None
    num_replicas: int = 1
    ray_actor_options: Mapping[str, Any] = field(default_factory=lambda: _NO_OPTIONS)
    user_config: Any = None
    max_ongoing_requests: int = 5
    max_queued_requests: int = -1
    graceful_shutdown_wait_loop_s: float = 2.0
    graceful_shutdown_timeout_s: float = 20.0
    health_check_period_s: float = 10.0
    health_check_timeout_s: float = 30.0
    max_constructor_retry_count: int = 20
    autoscaling_config: AutoscalingConfig | None = None
    backpressure_config: BackpressureConfig | None = None
    request_router_config: RequestRouterConfig | None = None
    logging_config: LoggingConfig | None = None
    rolling_update_percentage: float = 0.2
    max_surge_percent: int | None = None
    max_replicas_per_node: int | None = None
    placement_group_bundles: Sequence[Mapping[str, float]] | None = None
    placement_group_strategy: str | None = None
    placement_group_bundle_label_selector: Sequence[Mapping[str, str]] | None = None
    deployment_actors: tuple[DeploymentActorConfig, ...] = ()

    def __post_init__(self) -> None:
        self._check_placement()
        if not 0 < number("rolling_update_percentage", self.rolling_update_percentage) <= 1:
            raise ValueError(
                "rolling_update_percentage is a fraction, above 0 and at most 1; got "
                f"{self.rolling_update_percentage!r}"
            )
        if self.max_surge_percent is not None:
            whole("max_surge_percent", self.max_surge_percent, 0)
            if self.max_surge_percent > 100:
                raise ValueError(f"max_surge_percent must be 0..100, got {self.max_surge_percent}")
        whole("num_replicas", self.num_replicas, 1)
        whole("max_ongoing_requests", self.max_ongoing_requests, 1)
        whole("max_queued_requests", self.max_queued_requests, -1)
        whole("max_constructor_retry_count", self.max_constructor_retry_count, 1)
        positive("graceful_shutdown_wait_loop_s", self.graceful_shutdown_wait_loop_s)
        not_negative("graceful_shutdown_timeout_s", self.graceful_shutdown_timeout_s)
        positive("health_check_period_s", self.health_check_period_s)
        positive("health_check_timeout_s", self.health_check_timeout_s)

    def _check_placement(self) -> None:
        most, bundles = self.max_replicas_per_node, self.placement_group_bundles
        if most is not None:
            whole("max_replicas_per_node", most, 1)
            if most > 100:
                raise ValueError(f"max_replicas_per_node must be 1..100, got {most}")
            if bundles is not None:
                raise ValueError(
                    "max_replicas_per_node and placement_group_bundles exclude each other"
                )
        if bundles is None:
            for name in ("placement_group_strategy", "placement_group_bundle_label_selector"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} needs placement_group_bundles")
            return
        if not bundles or not all(isinstance(bundle, dict) for bundle in bundles):
            raise ValueError(f"placement_group_bundles is a list of dicts, got {bundles!r}")
        for resource, amount in self.actor_resources().items():
            if amount > bundles[0].get(resource, 0):
                raise ValueError(
                    f"a replica runs in the first of placement_group_bundles, {bundles[0]!r}, which "
                    f"has not the {resource}: {amount} that ray_actor_options asks for; say "
                    f"num_cpus=0 there, or put it into the bundle"
                )

    def with_options(self, options: Mapping[str, Any]) -> DeploymentConfig:
        """This config with some options replaced.

        Raises:
            NotImplementedError: For options of Ray that are not offered yet.
            TypeError: For unknown options; the known ones are listed.
        """
        known = {field.name for field in fields(self)}
        for name, value in options.items():
            if name in _LATER and value is not None:
                raise NotImplementedError(f"{name}={value!r} is not offered yet: {_LATER[name]}")
            if name not in known and name not in _LATER:
                raise TypeError(
                    f"a deployment has no option {name!r}; it takes {', '.join(sorted(known))}"
                )
        changes = {name: value for name, value in options.items() if name not in _LATER}
        self._parse_numbers(changes)
        backpressure = changes.get("backpressure_config")
        if isinstance(backpressure, Mapping):
            changes["backpressure_config"] = BackpressureConfig(**backpressure)
        router = changes.get("request_router_config")
        if router is not None:
            router = RequestRouterConfig.parse(router)
            is_default = router.request_router_class is None
            changes["request_router_config"] = None if is_default else router
        if "logging_config" in changes:
            changes["logging_config"] = LoggingConfig.parse(changes["logging_config"])
        if "deployment_actors" in changes:
            changes["deployment_actors"] = DeploymentActorConfig.parse(changes["deployment_actors"])
        selector = changes.get("placement_group_bundle_label_selector")
        if selector is not None and len(selector) == 1:  # one for all bundles
            bundles = changes.get("placement_group_bundles") or self.placement_group_bundles or ()
            changes["placement_group_bundle_label_selector"] = list(selector) * len(bundles)
        if "ray_actor_options" in changes:
            changes["ray_actor_options"] = _actor_options(changes["ray_actor_options"])
        return replace(self, **changes)

    def _parse_numbers(self, changes: dict[str, Any]) -> None:
        """How many replicas: a number, or bounds; the one given last replaces the other."""
        count, scaling = changes.pop("num_replicas", None), changes.get("autoscaling_config")
        if isinstance(count, str) and count != "auto":
            raise TypeError(f"num_replicas must be an int or 'auto', got {count!r}")
        if scaling is not None:
            if count not in (None, "auto"):
                raise ValueError(
                    f"num_replicas={count!r} and autoscaling_config exclude each other; leave "
                    'num_replicas out, or say num_replicas="auto"'
                )
            if count == "auto" and isinstance(scaling, Mapping):
                scaling = {"max_replicas": _AUTO_MOST, **scaling}
            changes["autoscaling_config"] = AutoscalingConfig.parse(scaling)
        elif count == "auto":
            changes["autoscaling_config"] = AutoscalingConfig(max_replicas=_AUTO_MOST)
        elif count is not None:
            changes["num_replicas"], changes["autoscaling_config"] = count, None

    @property
    def first_replicas(self) -> int:
        """How many replicas to begin with."""
        scaling = self.autoscaling_config
        return self.num_replicas if scaling is None else scaling.first_replicas

    def code_options(self) -> dict[str, Any]:
        """Those whose change needs new replicas; the others are passed on to living ones."""
        return {name: value for name, value in vars(self).items() if name not in _PASSED_ON}

    def resources(self) -> dict[str, float]:
        """What each replica takes, with all that is set aside for it, by resource name."""
        if self.placement_group_bundles is None:
            return self.actor_resources()
        total: dict[str, float] = {}
        for bundle in self.placement_group_bundles:
            for resource, amount in bundle.items():
                total[resource] = total.get(resource, 0) + amount
        return total

    def actor_resources(self) -> dict[str, float]:
        """What its own process takes, by resource name."""
        options = {"num_cpus": 1, **self.ray_actor_options}
        named = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus")}
        named.update(options.get("resources") or {})
        return {resource: amount for resource, amount in named.items() if amount}

    def pace(self, num_replicas: int) -> tuple[int, int | None]:
        """How an update goes: how many replicas at a time, and how many beyond the number."""
        surge = self.max_surge_percent
        beyond = None if surge is None else (surge * num_replicas + 99) // 100
        return max(1, int(self.rolling_update_percentage * num_replicas)), beyond

    def failed_starts_allowed(self) -> int:
        """After so many failed starts in a row a deployment has failed."""
        return min(self.max_constructor_retry_count, 3 * max(self.first_replicas, 1))


_AUTO_MOST = 100  # replicas, where Ray's num_replicas="auto" ends too
_PASSED_ON = (
    "version",
    "num_replicas",
    "autoscaling_config",
    "user_config",
    "max_ongoing_requests",
    "max_queued_requests",
    "backpressure_config",
    "logging_config",
    "graceful_shutdown_wait_loop_s",
    "graceful_shutdown_timeout_s",
    "health_check_period_s",
    "health_check_timeout_s",
    "max_constructor_retry_count",
    "rolling_update_percentage",
    "max_surge_percent",
    "max_replicas_per_node",
)
_LATER = {
    "gang_scheduling_config": "there is one machine",
}

_ACTOR_OPTIONS = ("num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "runtime_env")


def _actor_options(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Names and numbers are checked; what else there is, Core checks when a replica is made."""
    if value is None:
        return _NO_OPTIONS
    if not isinstance(value, Mapping):
        raise TypeError(f"ray_actor_options must be a dict, got {value!r}")
    for name in value:
        if name not in _ACTOR_OPTIONS:
            raise ValueError(
                f"ray_actor_options has no {name!r}; it takes {', '.join(_ACTOR_OPTIONS)}"
            )
    for name in ("num_cpus", "num_gpus", "memory"):
        if value.get(name) is not None:
            not_negative(f"{name} of ray_actor_options", value[name])
    return dict(value)
