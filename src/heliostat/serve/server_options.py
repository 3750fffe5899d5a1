"""Options of Serve's own processes, parsed once into frozen values: where and how it listens.

Public under `serve.config`. It does not know how the options are carried out.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from heliostat.serve._checks import positive, whole


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
        location: "EveryNode", as when left out: each machine of a cluster listens; "HeadOnly": the
            one where Serve is started; "Disabled": nobody.
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
class ControllerOptions:
    """How Serve's controller starts; means something only the first time Serve starts.

    Args:
        runtime_env: Of it only `env_vars`: environment variables of the controller's process.

    Raises:
        TypeError: For variables that are no strings.
        ValueError: For anything else than `env_vars`.

    Example:
        >>> from heliostat import serve
        >>> serve.ControllerOptions(runtime_env={"env_vars": {"SSL_CERT_DIR": "/certs"}}).env_vars
        {'SSL_CERT_DIR': '/certs'}
    """

    runtime_env: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.runtime_env is None:
            return
        if not isinstance(self.runtime_env, Mapping):
            raise TypeError(f"runtime_env of controller_options is a dict: {self.runtime_env!r}")
        others = sorted(set(self.runtime_env) - {"env_vars"})
        if others:
            raise ValueError(
                f"runtime_env of controller_options takes env_vars only, got {others}; what "
                "replicas need goes into ray_actor_options of the deployment"
            )
        for name, value in self.env_vars.items():
            if not isinstance(name, str) or not name or not isinstance(value, str):
                raise TypeError(f"env_vars are strings, got {name!r}: {value!r}")

    @property
    def env_vars(self) -> dict[str, str]:
        """The variables."""
        return dict((self.runtime_env or {}).get("env_vars") or {})

    @staticmethod
    def parse(value: ControllerOptions | Mapping[str, Any] | None) -> ControllerOptions | None:
        """From what `serve.start(controller_options=)` takes; None for none.

        Raises:
            TypeError: For an unknown option.
        """
        if value is None or isinstance(value, ControllerOptions):
            return value
        if not isinstance(value, Mapping):
            raise TypeError(f"controller_options is a ControllerOptions or a dict, got {value!r}")
        for name in value:
            if name != "runtime_env":
                raise TypeError(f"controller_options has no {name!r}; it takes runtime_env")
        return ControllerOptions(**value)


def _exporter() -> str:
    return os.environ.get("RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH", "")


def _ratio() -> float:
    return float(os.environ.get("RAY_SERVE_TRACING_SAMPLING_RATIO", "0.01"))


@dataclass(frozen=True)
class TracingConfig:
    """Which requests have spans of OpenTelemetry, and where these go.

    Args:
        enabled: Whether any has; so if there is an exporter, unless given.
        exporter_import_path: "module:function", which returns a list of SpanProcessors; also from
            the variable RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH. Empty: a file for each process in
            the folder `serve-spans` where Heliostat keeps its state.
        sampling_ratio: Which part of the requests, 0 to 1; those that come with a `traceparent`
            follow it. Also from RAY_SERVE_TRACING_SAMPLING_RATIO; else one in a hundred.

    Raises:
        TypeError: For an exporter that is no string.
        ValueError: For a ratio out of range.

    Example:
        >>> from heliostat import serve
        >>> serve.TracingConfig(enabled=True).sampling_ratio
        0.01
    """

    enabled: bool = field(default_factory=lambda: bool(_exporter()))
    exporter_import_path: str = field(default_factory=_exporter)
    sampling_ratio: float = field(default_factory=_ratio)

    def __post_init__(self) -> None:
        if not isinstance(self.exporter_import_path, str):
            raise TypeError(
                "exporter_import_path is a string, 'module:function'; got "
                f"{self.exporter_import_path!r}"
            )
        if not 0 <= self.sampling_ratio <= 1:
            raise ValueError(f"sampling_ratio must be 0..1, got {self.sampling_ratio!r}")

    @staticmethod
    def parse(value: TracingConfig | Mapping[str, Any] | None) -> TracingConfig | None:
        """From what `serve.start(tracing_config=)` takes; None when nothing is traced.

        Raises:
            TypeError: For an unknown option; the known ones are listed.
        """
        if isinstance(value, TracingConfig):
            return value if value.enabled else None
        if not isinstance(value, Mapping | None):
            raise TypeError(f"tracing_config is a TracingConfig or a dict, got {value!r}")
        known = [each.name for each in fields(TracingConfig)]
        for name in value or ():
            if name not in known:
                raise TypeError(f"tracing_config has no {name!r}; it takes {', '.join(known)}")
        return TracingConfig.parse(TracingConfig(**(value or {})))
