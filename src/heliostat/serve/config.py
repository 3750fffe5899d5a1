"""Options of Serve, parsed once into frozen values.

The only place where they are validated. An option that is known from Ray but not offered yet
raises and says what to use instead. It does not know how the options are carried out.
"""

from __future__ import annotations

import importlib
import math
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from heliostat.serve._checks import positive, whole
from heliostat.serve.autoscaling import (
    AggregationFunction,
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
)
from heliostat.serve.exceptions import BackPressureError
from heliostat.serve.logging_config import LoggingConfig

__all__ = [
    "AggregationFunction",
    "AutoscalingConfig",
    "AutoscalingContext",
    "AutoscalingPolicy",
    "BackpressureConfig",
    "DeploymentConfig",
    "HTTPOptions",
    "ProxyLocation",
    "RequestRouterConfig",
    "gRPCOptions",
]

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class ProxyLocation(StrEnum):
    """Where somebody listens."""

    Disabled = "Disabled"
    HeadOnly = "HeadOnly"
    EveryNode = "EveryNode"

    @staticmethod
    def parse(value: object) -> ProxyLocation:
        """From what users write.

        Raises:
            ValueError: For another word.
        """
        try:
            return ProxyLocation(str(getattr(value, "value", value)))
        except ValueError:
            raise ValueError(
                f"a proxy's location is 'Disabled', 'HeadOnly' or 'EveryNode', got {value!r}"
            ) from None


@dataclass(frozen=True)
class HTTPOptions:
    """Where and how Serve listens.

    Args:
        host: The address to listen on; loopback unless you open it yourself. None: nobody listens.
        port: The TCP port; 0 takes a free one.
        middlewares: Refused; they belong to your own app.
        location: "HeadOnly" and "EveryNode" are the same on one machine; "Disabled": nobody
            listens.
        num_cpus: Must be 0.
        root_url: Means nothing here.
        root_path: A prefix that a proxy in front of Serve has taken off the path.
        request_timeout_s: Answer 408 after so many seconds; None waits for ever.
        keep_alive_timeout_s: How long an idle connection stays open.
        ssl_keyfile: A key in PEM; with the certificate, Serve speaks HTTPS and nothing else.
        ssl_certfile: Its certificate, or chain of them.
        ssl_keyfile_password: The key's password.
        ssl_ca_certs: Clients must have a certificate signed by one of these.

    Raises:
        ValueError: For a value out of range.

    Example:
        >>> from heliostat import serve
        >>> serve.HTTPOptions(port=8001).host
        '127.0.0.1'
    """

    host: str | None = "127.0.0.1"
    port: int = 8000
    middlewares: Sequence[Any] = ()
    location: str | None = None
    num_cpus: int = 0
    root_url: str = ""
    root_path: str = ""
    request_timeout_s: float | None = None
    keep_alive_timeout_s: float = 90
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None

    def __post_init__(self) -> None:
        whole("port", self.port, 0)
        if self.port > 65535:
            raise ValueError(f"port must be 0..65535, got {self.port}")
        if self.middlewares:
            raise ValueError(
                "middlewares of HTTPOptions is not offered; add them to your FastAPI app with "
                "app.add_middleware, and use @serve.ingress(app)"
            )
        if self.num_cpus:
            raise ValueError(f"num_cpus must be 0, got {self.num_cpus!r}: nothing is reserved")
        if self.root_path and not self.root_path.startswith("/"):
            raise ValueError(f"root_path must start with '/', got {self.root_path!r}")
        if self.request_timeout_s is not None:
            positive("request_timeout_s", self.request_timeout_s)
        positive("keep_alive_timeout_s", self.keep_alive_timeout_s)
        location = ProxyLocation.Disabled if self.host is None else self.location
        if location is not None:
            object.__setattr__(self, "location", ProxyLocation.parse(location))
        if bool(self.ssl_keyfile) != bool(self.ssl_certfile):
            raise ValueError("ssl_keyfile and ssl_certfile must both be given, or neither")
        if self.ssl_ca_certs and not self.ssl_certfile:
            raise ValueError("ssl_ca_certs needs ssl_keyfile and ssl_certfile")

    @property
    def is_disabled(self) -> bool:
        """Nobody listens: handles only."""
        return self.location == ProxyLocation.Disabled

    def tls(self) -> ssl.SSLContext | None:
        """What connections are encrypted with; None for plain HTTP.

        Raises:
            OSError: When a file cannot be read, or is no certificate; names it.
        """
        if self.ssl_certfile is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(
                self.ssl_certfile, self.ssl_keyfile, self.ssl_keyfile_password or ""
            )
            if self.ssl_ca_certs:  # then clients need a certificate too
                context.load_verify_locations(self.ssl_ca_certs)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:
            files = f"ssl_certfile={self.ssl_certfile!r}, ssl_keyfile={self.ssl_keyfile!r}"
            raise OSError(
                f"{files}, ssl_ca_certs={self.ssl_ca_certs!r}: {error.strerror or error}"
            ) from error
        return context

    @staticmethod
    def parse(value: HTTPOptions | Mapping[str, Any] | None) -> HTTPOptions:
        """HTTPOptions from what `serve.start(http_options=)` takes.

        Raises:
            TypeError: For an unknown option; the known ones are listed.
        """
        if value is None:
            return HTTPOptions()
        if isinstance(value, HTTPOptions):
            return value
        known = [field.name for field in fields(HTTPOptions)]
        for name in value:
            if name not in known:
                raise TypeError(f"http_options has no {name!r}; it takes {', '.join(known)}")
        return HTTPOptions(**value)


@dataclass(frozen=True)
class gRPCOptions:
    """What Serve offers over gRPC, and where; on the host of HTTPOptions.

    Args:
        port: The TCP port.
        grpc_servicer_functions: Import paths of the `add_..._to_server` functions that were
            generated for your services; without any, nobody listens.
        request_timeout_s: Answer DEADLINE_EXCEEDED after so many seconds; None waits for ever.
        enable_reflection: Let tools such as grpcurl ask which services there are.

    Raises:
        ValueError: For a value out of range.

    Example:
        >>> from heliostat.serve.config import gRPCOptions
        >>> gRPCOptions(grpc_servicer_functions=["fares_pb2_grpc.add_FaresServicer_to_server"]).port
        9000
    """

    port: int = 9000
    grpc_servicer_functions: Sequence[str] = ()
    request_timeout_s: float | None = None
    enable_reflection: bool = True

    def __post_init__(self) -> None:
        whole("port", self.port, 1)
        if self.port > 65535:
            raise ValueError(f"port must be 1..65535, got {self.port}")
        paths = self.grpc_servicer_functions
        if isinstance(paths, str) or not all(isinstance(path, str) for path in paths):
            raise ValueError(f"grpc_servicer_functions must be a list of import paths: {paths!r}")
        object.__setattr__(self, "grpc_servicer_functions", tuple(paths))
        if self.request_timeout_s is not None:
            positive("request_timeout_s", self.request_timeout_s)

    @staticmethod
    def parse(value: gRPCOptions | Mapping[str, Any] | None) -> gRPCOptions:
        """gRPCOptions from what `serve.start(grpc_options=)` takes.

        Raises:
            TypeError: For an unknown option; the known ones are listed.
        """
        if isinstance(value, gRPCOptions):
            return value
        known = [field.name for field in fields(gRPCOptions)]
        for name in value or ():
            if name not in known:
                raise TypeError(f"grpc_options has no {name!r}; it takes {', '.join(known)}")
        return gRPCOptions(**(value or {}))


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
            module, _, name = router.replace(":", ".").rpartition(".")
            try:
                router = getattr(importlib.import_module(module), name)
            except (AttributeError, ValueError, ImportError) as error:
                raise ImportError(f"there is no router {self.request_router_class!r}") from error
        if not callable(getattr(router, "choose_replicas", None)):
            raise TypeError(
                f"a router is a subclass of serve.request_router.RequestRouter: {router!r}"
            )
        return router


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

    def __post_init__(self) -> None:
        whole("num_replicas", self.num_replicas, 1)
        whole("max_ongoing_requests", self.max_ongoing_requests, 1)
        whole("max_queued_requests", self.max_queued_requests, -1)
        whole("max_constructor_retry_count", self.max_constructor_retry_count, 1)
        positive("graceful_shutdown_wait_loop_s", self.graceful_shutdown_wait_loop_s)
        if self.graceful_shutdown_timeout_s < 0:
            raise ValueError(
                f"graceful_shutdown_timeout_s must be >= 0, got {self.graceful_shutdown_timeout_s}"
            )
        positive("health_check_period_s", self.health_check_period_s)
        positive("health_check_timeout_s", self.health_check_timeout_s)

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
        if "ray_actor_options" in changes:
            changes["ray_actor_options"] = _actor_options(changes["ray_actor_options"])
        return replace(self, **changes)

    def _parse_numbers(self, changes: dict[str, Any]) -> None:
        """How many replicas: a number, or bounds; the one given last replaces the other."""
        number, scaling = changes.pop("num_replicas", None), changes.get("autoscaling_config")
        if scaling is not None:
            if number not in (None, "auto"):
                raise ValueError(
                    f"num_replicas={number!r} and autoscaling_config exclude each other; leave "
                    'num_replicas out, or say num_replicas="auto"'
                )
            if number == "auto" and isinstance(scaling, Mapping):
                scaling = {"max_replicas": _AUTO_MOST, **scaling}
            changes["autoscaling_config"] = AutoscalingConfig.parse(scaling)
        elif number == "auto":
            changes["autoscaling_config"] = AutoscalingConfig(max_replicas=_AUTO_MOST)
        elif number is not None:
            changes["num_replicas"], changes["autoscaling_config"] = number, None

    @property
    def first_replicas(self) -> int:
        """How many replicas to begin with."""
        scaling = self.autoscaling_config
        return self.num_replicas if scaling is None else scaling.first_replicas

    def code_options(self) -> dict[str, Any]:
        """Those whose change needs new replicas; the others are passed on to living ones."""
        return {name: value for name, value in vars(self).items() if name not in _PASSED_ON}

    def resources(self) -> dict[str, float]:
        """What each replica takes, by resource name."""
        options = {"num_cpus": 1, **self.ray_actor_options}
        named = {"CPU": options["num_cpus"], "GPU": options.get("num_gpus")}
        named.update(options.get("resources") or {})
        return {resource: amount for resource, amount in named.items() if amount}

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
)
_LATER = {
    "placement_group_bundles": "ask for resources in ray_actor_options",
    "placement_group_strategy": "ask for resources in ray_actor_options",
    "placement_group_bundle_label_selector": "there is one machine",
    "max_replicas_per_node": "there is one machine; use num_replicas",
    "gang_scheduling_config": "there is one machine",
    "deployment_actors": "create the actor in the constructor",
    "rolling_update_percentage": "replicas are replaced one by one",
    "max_surge_percent": "replicas are replaced one by one",
}

_ACTOR_OPTIONS = ("num_cpus", "num_gpus", "memory", "resources", "accelerator_type", "runtime_env")


def _actor_options(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Checked names only: Core checks the values when the replica is made."""
    if value is None:
        return _NO_OPTIONS
    if not isinstance(value, Mapping):
        raise TypeError(f"ray_actor_options must be a dict, got {value!r}")
    for name in value:
        if name not in _ACTOR_OPTIONS:
            raise ValueError(
                f"ray_actor_options has no {name!r}; it takes {', '.join(_ACTOR_OPTIONS)}"
            )
    return dict(value)
