"""Applications as a file describes them: ServeDeploySchema and its parts, with Ray's keys.

Parsed once; a key that is unknown or not offered is an error that says where it stands. It does
not know how applications are imported or run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from heliostat.serve.config import DeploymentConfig, HTTPOptions, ProxyLocation, gRPCOptions
from heliostat.serve.logging_config import LoggingConfig

T = TypeVar("T")
_NOT_OFFERED = (
    "controller_options",
    "tracing_config",
    "target_capacity",
    "autoscaling_policy",
    "external_scaler_enabled",
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
    """

    import_path: str
    name: str = "default"
    route_prefix: str | None = "/"
    args: Mapping[str, Any] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    deployments: Sequence[DeploymentSchema] = ()
    logging_config: Mapping[str, Any] | None = None

    @staticmethod
    def parse(value: Any, where: str) -> ServeApplicationSchema:
        """From a mapping.

        Raises:
            ValueError: For a wrong or unknown key; says where.
        """
        found = _mapping(value, where)
        path = found.get("import_path")
        if not isinstance(path, str) or not path.replace(":", ".").strip(".").count("."):
            raise ValueError(f"{where}: import_path must be 'module:name', got {path!r}")
        found["deployments"] = [
            DeploymentSchema.parse(each, f"{where}.deployments[{number}]")
            for number, each in enumerate(found.get("deployments") or ())
        ]
        _check_logging(found, where)
        return _made(ServeApplicationSchema, found, where)


@dataclass(frozen=True)
class ServeDeploySchema:
    """A file of applications.

    Args:
        applications: What is to run; all else is ended.
        proxy_location: As for `serve.start`.
        http_options: The same.
        grpc_options: The same.
        logging_config: The same.

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

    @staticmethod
    def parse(value: Any) -> ServeDeploySchema:
        """From what a YAML or JSON file holds.

        Raises:
            ValueError: For a wrong or unknown key; says where.
        """
        found = _mapping(value, "the config")
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
        try:
            HTTPOptions.parse(found.setdefault("http_options", {}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"http_options: {error}") from error
        try:
            gRPCOptions.parse(found.setdefault("grpc_options", {}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"grpc_options: {error}") from error
        _check_logging(found, "the config")
        return _made(ServeDeploySchema, found, "the config")

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


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} must be a mapping, got {type(value).__name__}")
    for name in _NOT_OFFERED:
        if value.get(name):
            raise ValueError(f"{where} has {name}, which is not offered; leave it out")
    return {key: each for key, each in value.items() if key not in _NOT_OFFERED}


def _check_logging(found: Mapping[str, Any], where: str) -> None:
    try:
        LoggingConfig.parse(found.get("logging_config"))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _made(kind: type[T], found: dict[str, Any], where: str) -> T:
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # it is a dataclass
    for key in found:
        if key not in known:
            raise ValueError(f"{where} has no {key!r}; it takes {', '.join(known)}")
    return kind(**found)
