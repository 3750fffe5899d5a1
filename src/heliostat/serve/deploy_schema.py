"""Applications as a file describes them: ServeDeploySchema and its parts, with Ray's keys.

Parsed once; a key that is unknown or not offered is an error that says where it stands. It does
not know how applications are imported or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from heliostat.serve.autoscaling import AutoscalingPolicy
from heliostat.serve.config import DeploymentConfig
from heliostat.serve.logging_config import LoggingConfig
from heliostat.serve.server_options import (
    ControllerOptions,
    HTTPOptions,
    ProxyLocation,
    TracingConfig,
    gRPCOptions,
)


@dataclass(frozen=True)
class DeploymentSchema:
    """Options of one deployment, in place of those in the code.

    Args:
        name: The deployment's name.
        options: What `@serve.deployment` takes.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def parse(value: Any, where: str) -> DeploymentSchema:
        """From a mapping.

        Raises:
            ValueError: When it is none, or has no name, or wrong options.
        """
        found = _mapping(value, where)
        name = found.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"{where} has no name")
        try:
            DeploymentConfig().with_options(found)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{where} ({name}): {error}") from error
        return DeploymentSchema(name, found)


@dataclass(frozen=True)
class ServeApplicationSchema:
    """One application of a file.

    Args:
        import_path: "module:name" of an Application, or of a function that makes one.
        name: The application's name.
        route_prefix: Where HTTP requests for it begin; None for no HTTP.
        args: For the function.
        runtime_env: For replicas that have none of their own.
        deployments: Options in place of those in the code.
        logging_config: What its replicas log, as a dict of LoggingConfig's fields.
        external_scaler_enabled: Somebody outside sets the numbers of replicas.
        autoscaling_policy: Who finds the numbers of all deployments together, as a dict of
            AutoscalingPolicy's fields.
    """

    import_path: str
    name: str = "default"
    route_prefix: str | None = "/"
    args: Mapping[str, Any] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    deployments: Sequence[DeploymentSchema] = ()
    logging_config: Mapping[str, Any] | None = None
    external_scaler_enabled: bool = False
    autoscaling_policy: Mapping[str, Any] | None = None

    @staticmethod
    def parse(value: Any, where: str) -> ServeApplicationSchema:
        """From a mapping.

        Raises:
            ValueError: For a wrong or unknown key; says where.
        """
        found = _mapping(value, where, ServeApplicationSchema)
        path = found.get("import_path")
        if not isinstance(path, str) or not path.replace(":", ".").strip(".").count("."):
            raise ValueError(f"{where}: import_path must be 'module:name', got {path!r}")
        found["deployments"] = [
            DeploymentSchema.parse(each, f"{where}.deployments[{number}]")
            for number, each in enumerate(found.get("deployments") or ())
        ]
        _check_logging(found, where)
        try:
            AutoscalingPolicy(**(found.get("autoscaling_policy") or {}))
        except TypeError as error:
            raise ValueError(f"{where}: autoscaling_policy: {error}") from error
        return ServeApplicationSchema(**found)


@dataclass(frozen=True)
class ServeDeploySchema:
    """A file of applications.

    Args:
        applications: What is to run; all else is ended.
        proxy_location: As for `serve.start`.
        http_options: The same.
        grpc_options: The same.
        logging_config: The same.
        tracing_config: The same.
        controller_options: The same.
        target_capacity: What part of their replicas all deployments have, in per cent.

    Example:
        >>> from heliostat.serve.schema import ServeDeploySchema
        >>> config = {"applications": [{"import_path": "fares:app"}]}
        >>> ServeDeploySchema.parse(config).applications[0].name
        'default'
    """

    applications: Sequence[ServeApplicationSchema] = ()
    proxy_location: ProxyLocation = ProxyLocation.EveryNode
    http_options: Mapping[str, Any] = field(default_factory=dict)
    grpc_options: Mapping[str, Any] = field(default_factory=dict)
    logging_config: Mapping[str, Any] | None = None
    tracing_config: Mapping[str, Any] | None = None
    controller_options: Mapping[str, Any] | None = None
    target_capacity: float | None = None

    @staticmethod
    def parse(value: Any) -> ServeDeploySchema:
        """From what a YAML or JSON file holds.

        Raises:
            ValueError: For a wrong or unknown key; says where.
        """
        found = _mapping(value, "the config", ServeDeploySchema)
        if found.get("applications") is None:  # without them all that run would end
            raise ValueError("the config has no 'applications'; an empty list ends all that run")
        found["applications"] = [
            ServeApplicationSchema.parse(each, f"applications[{number}]")
            for number, each in enumerate(found.get("applications") or ())
        ]
        names = [app.name for app in found["applications"]]
        prefixes = [app.route_prefix for app in found["applications"] if app.route_prefix]
        for what, values in (("name", names), ("route_prefix", prefixes)):
            if len(set(values)) < len(values):
                raise ValueError(f"two applications have one {what}: {values}")
        found["proxy_location"] = ProxyLocation.parse(found.get("proxy_location", "EveryNode"))
        found.setdefault("http_options", {})
        found.setdefault("grpc_options", {})
        for name, kind in _OPTIONS.items():
            try:
                kind.parse(found.get(name))
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: {error}") from error
        _check_logging(found, "the config")
        _check_capacity(found.get("target_capacity"))
        return ServeDeploySchema(**found)

    def to_http_options(self) -> HTTPOptions:
        """Where to listen."""
        return HTTPOptions.parse({**self.http_options, "location": self.proxy_location})

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a file."""
        config = asdict(self)
        config["proxy_location"] = str(self.proxy_location)
        for app, schema in zip(config["applications"], self.applications, strict=True):
            app["deployments"] = [{"name": d.name, **d.options} for d in schema.deployments]
        return config


def _mapping(value: Any, where: str, kind: Any = None) -> dict[str, Any]:
    """A mapping, with keys that are fields of this kind only."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping, got {type(value).__name__}")
    known = [each.name for each in fields(kind)] if kind else value
    for key in value:
        if key not in known:
            raise ValueError(f"{where} has no {key!r}; it takes {', '.join(known)}")
    return dict(value)


_OPTIONS: Mapping[str, Any] = {
    "http_options": HTTPOptions,
    "grpc_options": gRPCOptions,
    "tracing_config": TracingConfig,
    "controller_options": ControllerOptions,
}


def _check_capacity(capacity: object) -> None:
    if capacity is None:
        return
    if isinstance(capacity, bool) or not isinstance(capacity, (int, float)):
        raise ValueError(f"target_capacity is a number, got {capacity!r}")
    if not 0 <= capacity <= 100:
        raise ValueError(f"target_capacity must be 0..100, got {capacity}")


def _check_logging(found: Mapping[str, Any], where: str) -> None:
    try:
        LoggingConfig.parse(found.get("logging_config"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
