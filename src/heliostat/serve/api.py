"""run, run_many, start, shutdown, status, delete, get_app_handle, get_deployment_handle.

Each checks its input, and asks the controller once. It does not know how replicas come about.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import heliostat as ray
from heliostat.exceptions import RayActorError, RayTaskError, SerializationError
from heliostat.serve._build import Node, build
from heliostat.serve._connections import this_process
from heliostat.serve._controller import ENDED, Controller
from heliostat.serve._dispatch import CONTROLLER, NAMESPACE, find_controller, forget_unavailable
from heliostat.serve._local import LocalApplication
from heliostat.serve._room import check_room
from heliostat.serve._specs import ActorSpec, ApplicationSpec, DeploymentSpec
from heliostat.serve._unpicklable import explained, named
from heliostat.serve._views import let_travel
from heliostat.serve.autoscaling import AutoscalingPolicy
from heliostat.serve.context import get_replica_context
from heliostat.serve.deployment import Application
from heliostat.serve.exceptions import DeployFailedError, RayServeException
from heliostat.serve.handle import DeploymentHandle
from heliostat.serve.logging_config import LoggingConfig
from heliostat.serve.schema import ServeStatus
from heliostat.serve.server_options import (
    ControllerOptions,
    HTTPOptions,
    ProxyLocation,
    TracingConfig,
    gRPCOptions,
)

logger = logging.getLogger("heliostat.serve")

_PREFIX = re.compile(r"(/[^/{}\s]+)+|/")
# Where somebody shuts Serve down: how often another controller is asked for, and how soon.
_TRIES, _AGAIN_S = 20, 0.05
_REFUSALS = (RayServeException, OSError, RuntimeError, ImportError, ValueError, TypeError)


def run(
    target: Application,
    blocking: bool = False,
    name: str = "default",
    route_prefix: str | None = "/",
    logging_config: Any = None,
    _local_testing_mode: bool = False,
    external_scaler_enabled: bool = False,
    controller_options: Any = None,
) -> DeploymentHandle:
    """Deploy an application, and return when all its replicas run.

    An application of that name is replaced, replica by replica, without a failed request.

    Args:
        target: What `.bind()` returned.
        blocking: Wait for Ctrl-C, then shut Serve down.
        name: The application's name.
        route_prefix: Where HTTP requests for it begin; None for no HTTP.
        logging_config: What replicas log, how and where, as a
            `heliostat.serve.schema.LoggingConfig` or a dict of its fields; deployments may have
            their own.
        _local_testing_mode: Run everything in this process, in one thread, without HTTP: for
            unit tests. See also `serve.test_client`. What is logged there is up to this process.
        external_scaler_enabled: Somebody outside sets the numbers of replicas, over the REST
            interface; no deployment may have an autoscaling_config then.
        controller_options: How the controller starts, as `serve.ControllerOptions` or a dict;
            means something if Serve does not run yet.

    Returns:
        A handle to the ingress, the deployment that was bound last.

    Raises:
        DeployFailedError: When a replica cannot be made; has the constructor's traceback.
        OSError: When the port is taken; names who holds it, where that can be known.
        TypeError: When `target` is no application.
        ValueError: For a bad name or route prefix.

    Example:
        >>> import heliostat as ray
        >>> from heliostat import serve
        >>> @serve.deployment
        ... class Doubler:
        ...     def double(self, x): return 2 * x
        >>> handle = serve.run(Doubler.bind(), route_prefix=None)
        >>> handle.double.remote(4).result()
        8
        >>> serve.shutdown()
    """
    one = RunTarget(target, name, route_prefix, logging_config, external_scaler_enabled)
    return run_many(
        [one],
        blocking,
        _local_testing_mode=_local_testing_mode,
        controller_options=controller_options,
    )[0]


@dataclass(frozen=True)
class RunTarget:
    """An application for `serve.run_many`; the fields are the arguments of `serve.run`."""

    target: Application
    name: str = "default"
    route_prefix: str | None = "/"
    logging_config: Any = None
    external_scaler_enabled: bool = False

    def check(self) -> None:
        """Raise for what is wrong.

        Raises:
            TypeError: For a logging_config of the wrong kind.
            ValueError: For a bad name or route prefix.
        """
        LoggingConfig.parse(self.logging_config)
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"an application's name is a string, not empty; got {self.name!r}")
        if self.route_prefix is not None and not _PREFIX.fullmatch(self.route_prefix):
            raise ValueError(
                "route_prefix must be '/', or begin with '/' and not end with it, without braces "
                f"and spaces; got {self.route_prefix!r}"
            )


def run_many(
    targets: Sequence[RunTarget],
    blocking: bool = False,
    wait_for_ingress_deployment_creation: bool = True,
    wait_for_applications_running: bool = True,
    _local_testing_mode: bool = False,
    controller_options: Any = None,
    _target_capacity: float | None = None,
    _policies: Mapping[str, AutoscalingPolicy] | None = None,
) -> list[DeploymentHandle]:
    """Deploy many applications at a time.

    Args:
        targets: What to run.
        blocking: Wait for Ctrl-C, then shut Serve down.
        wait_for_ingress_deployment_creation: Means nothing here: they are created at once.
        wait_for_applications_running: False returns before the replicas run.
        controller_options: As for `run`.

    Returns:
        A handle to the ingress of each, in order.

    Raises:
        DeployFailedError: When a replica cannot be made; has the constructor's traceback.
        ValueError: Without applications, or when two have one name or route prefix.

    Example:
        >>> from heliostat import serve
        >>> @serve.deployment
        ... class Adder:
        ...     def __init__(self, n): self.n = n
        ...     def add(self, x): return x + self.n
        >>> one, two = (serve.RunTarget(Adder.bind(n), str(n), f"/{n}") for n in (1, 2))
        >>> [handle.add.remote(1).result() for handle in serve.run_many([one, two])]
        [2, 3]
        >>> serve.shutdown()
    """
    del wait_for_ingress_deployment_creation
    options = ControllerOptions.parse(controller_options)
    if not targets:
        raise ValueError("run_many got no applications")
    for target in targets:
        if not isinstance(target, RunTarget):
            raise TypeError(f"run_many takes serve.RunTarget(app, name=...), got {target!r}")
        target.check()
    for what in ("name", "route_prefix"):
        values = [v for target in targets if (v := getattr(target, what)) is not None]
        if len(set(values)) < len(values):
            raise ValueError(f"two applications have one {what}: {values}")
    if _local_testing_mode or os.environ.get("RAY_SERVE_FORCE_LOCAL_TESTING_MODE") == "1":
        return [_run_locally(target) for target in targets]
    graphs = [build(target.target, target.name) for target in targets]
    controller = _start(None, options=options)
    specs = [
        _application(target, nodes, _target_capacity, (_policies or {}).get(target.name))
        for target, nodes in zip(targets, graphs, strict=True)
    ]
    handles = _deploy(controller, specs, wait_for_applications_running)
    if blocking:
        _block(targets, _ask(find_controller().url.remote()))
    return handles


def _application(
    target: RunTarget,
    nodes: Sequence[Node],
    capacity: float | None = None,
    policy: AutoscalingPolicy | None = None,
) -> ApplicationSpec:
    """What the controller gets of an application.

    Raises:
        ValueError: For a replica that never fits, and for two who scale one deployment.
    """
    check_room(nodes)
    scaled = [node.name for node in nodes if node.config.autoscaling_config is not None]
    if target.external_scaler_enabled and scaled:
        raise ValueError(
            f"application {target.name!r} has external_scaler_enabled, and its deployments {scaled} "
            "have an autoscaling_config; leave out one or the other"
        )
    logging_config = LoggingConfig.parse(target.logging_config)
    specs = [_spec(node, logging_config) for node in nodes]
    scaler = target.external_scaler_enabled
    return ApplicationSpec(target.name, target.route_prefix, specs, scaler, capacity, policy)


def _deploy(
    controller: Any, specs: Sequence[ApplicationSpec], wait: bool
) -> list[DeploymentHandle]:
    """Give the applications to the controller, and wait until they run."""
    handles = []
    for spec in specs:
        _ask(controller.deploy.remote(spec))
        handles.append(DeploymentHandle(spec.deployments[-1].name, spec.name))
    for spec in specs if wait else ():
        problem = _ask(controller.until_deployed.remote(spec.name))
        if problem:
            raise DeployFailedError(f"application {spec.name!r} could not be deployed: {problem}")
    for spec in specs:
        forget_unavailable(spec.name)
    return handles


_locally: dict[str, LocalApplication] = {}


def _run_locally(target: RunTarget) -> DeploymentHandle:
    """In this process, until `delete` or `shutdown`."""
    _end_locally(target.name)
    local = LocalApplication(target.target, target.name, target.route_prefix)
    _locally[target.name] = local
    return local.handle


def _end_locally(*names: str) -> bool:
    ended = [_locally.pop(name) for name in names if name in _locally]
    for local in ended:
        local.close()
    return bool(ended)


def start(
    proxy_location: Any = None,
    http_options: HTTPOptions | Mapping[str, Any] | None = None,
    grpc_options: gRPCOptions | Mapping[str, Any] | None = None,
    logging_config: Any = None,
    tracing_config: Any = None,
    controller_options: Any = None,
) -> None:
    """Start Serve without an application, to choose where it listens.

    Args:
        proxy_location: "Disabled": nobody listens, for handles only. "HeadOnly": on a cluster, only
            the machine where Serve is started listens; else each one does.
        http_options: HTTPOptions, or a dict of them.
        grpc_options: `serve.config.gRPCOptions`, or a dict of them.
        logging_config: What all of Serve logs, how and where, as a
            `heliostat.serve.schema.LoggingConfig` or a dict of its fields; applications and
            deployments may have their own.
        tracing_config: Spans of OpenTelemetry for requests, as `serve.TracingConfig` or a dict.
        controller_options: How the controller starts, as `serve.ControllerOptions` or a dict.

    Raises:
        ImportError: When a servicer function or an exporter of spans cannot be imported, or what
            they need is not installed.
        OSError: When a port is taken; names who holds it, where that can be known.

    Example:
        >>> from heliostat import serve
        >>> serve.start(http_options={"port": 0})
        >>> serve.shutdown()
    """
    options = HTTPOptions.parse(http_options)
    if proxy_location is not None:
        options = replace(options, location=ProxyLocation.parse(proxy_location))
    options.tls()  # wrong files are told here
    _start(
        options,
        gRPCOptions.parse(grpc_options),
        LoggingConfig.parse(logging_config),
        TracingConfig.parse(tracing_config),
        ControllerOptions.parse(controller_options),
    )


def status() -> ServeStatus:
    """How all applications, deployments and replicas are.

    Returns:
        A ServeStatus; without applications when Serve does not run.

    Example:
        >>> from heliostat import serve
        >>> serve.status().applications
        {}
    """
    if not ray.is_initialized():
        return ServeStatus()  # asking starts no session
    try:
        controller = find_controller()
    except RayServeException:
        return ServeStatus()
    overview: ServeStatus = ray.get(controller.status.remote())
    return overview


def describe() -> dict[str, Any]:
    """What the REST interface tells beside the status; empty when Serve does not run."""
    try:
        controller = find_controller()
    except RayServeException:
        return {"applications": {}, "health": {}, "urls": []}
    told: dict[str, Any] = ray.get(controller.describe.remote())
    return told


def delete(name: str, _blocking: bool = True) -> None:
    """End an application: running requests are finished first.

    Args:
        name: The application's name.

    Raises:
        RayServeException: When Serve does not run.
    """
    if _end_locally(name):
        return
    gone = find_controller().delete.remote(name)
    if _blocking and not ray.get(gone):
        logger.info("there is no application %r to delete", name)


def shutdown() -> None:
    """End all applications and Serve itself; nothing listens and no replica is left after it.

    Does nothing when Serve does not run. The session of Core goes on.
    """
    _end_locally(*_locally)
    if not ray.is_initialized():
        return
    with contextlib.suppress(RayServeException):
        controller = find_controller()
        with contextlib.suppress(RayActorError):
            ray.get(controller.stop.remote())
            ray.kill(controller)


def scale(app_name: str, deployment_name: str, num_replicas: int) -> None:
    """Have so many replicas from now on; returns before they are there.

    What the REST interface does for a scaler outside; the application was run with
    `external_scaler_enabled=True`.

    Raises:
        ExternalScalerDisabledError: If it was not.
        LookupError: When there is no such deployment.
        RayServeException: When Serve does not run.
    """
    if not ray.is_initialized():
        raise RayServeException("Serve is not running; call serve.run(app) first")
    _ask(find_controller().scale.remote(app_name, deployment_name, num_replicas))


async def shutdown_async() -> None:
    """As `shutdown`, without blocking the event loop meanwhile."""
    await asyncio.to_thread(shutdown)


def get_app_handle(name: str) -> DeploymentHandle:
    """A handle to an application's ingress.

    Raises:
        RayServeException: When there is no such application; lists those there are.
    """
    if name in _locally:
        return _locally[name].handle
    controller = find_controller()
    ingress = ray.get(controller.ingress_of.remote(name))
    if ingress is None:
        known = sorted(ray.get(controller.applications.remote()))
        raise RayServeException(f"there is no application {name!r}; there are {known}")
    return DeploymentHandle(ingress, name)


def get_deployment_handle(
    deployment_name: str,
    app_name: str | None = None,
    _check_exists: bool = True,
    _record_telemetry: bool = True,
) -> DeploymentHandle:
    """A handle to any deployment.

    Args:
        deployment_name: The deployment.
        app_name: Its application; in a deployment's code, its own unless given.

    Raises:
        RayServeException: When there is no such deployment; lists those there are.
    """
    del _record_telemetry  # there is none
    if app_name is None:
        app_name = _own_app()
    if _check_exists:
        known = ray.get(find_controller().applications.remote())
        if deployment_name not in known.get(app_name, ()):
            raise RayServeException(
                f"application {app_name!r} has no deployment {deployment_name!r}; there are {known}"
            )
    return DeploymentHandle(deployment_name, app_name)


def _own_app() -> str:
    try:
        return get_replica_context().app_name
    except RuntimeError:
        raise RayServeException("outside a deployment's code, app_name must be given") from None


def _start(
    http: HTTPOptions | None,
    grpc: gRPCOptions | None = None,
    logging_config: LoggingConfig | None = None,
    tracing: TracingConfig | None = None,
    options: ControllerOptions | None = None,
) -> Any:
    """The controller, which listens; made if there is none."""
    who: dict[str, Any] = {"name": CONTROLLER, "namespace": NAMESPACE, "get_if_exists": True}
    who |= {"lifetime": "detached", "num_cpus": 0, "max_concurrency": 100_000}
    if options is not None and options.env_vars:
        who["runtime_env"] = {"env_vars": options.env_vars}
    for tries_left in reversed(range(_TRIES)):
        controller: Any = (
            ray.remote(Controller)
            .options(**who, **_beside())
            .remote(http or HTTPOptions(), grpc or gRPCOptions(), logging_config, tracing, options)
        )
        try:
            in_force = _ask(controller.start.remote(this_process()))
            break
        except _REFUSALS as error:
            ray.kill(controller)
            if not (isinstance(error, RayServeException) and tries_left):
                raise
            time.sleep(_AGAIN_S)  # it was stopped, and who did that may not live to kill it
    for asked, found in zip((http, grpc, logging_config, tracing, options), in_force, strict=True):
        if asked is not None and asked != found:
            logger.warning("Serve runs already with %s; %s is ignored", found, asked)
    return controller


def _beside() -> dict[str, Any]:
    """On a cluster of several nodes, the port is where Serve is started.

    Not "soft": Ray 2.60 often takes another node then, though this one has room.
    """
    if len(ray.nodes()) < 2:
        return {}
    here = ray.get_runtime_context().get_node_id()
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(here, soft=False)
    return {"scheduling_strategy": strategy}


def _ask(ref: Any) -> Any:
    """The controller's answer; its own errors as they were raised, without its traceback."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise error.cause from None
    except RayActorError as error:
        raise RayServeException(f"{ENDED}: {error}") from error


def _spec(node: Node, logging_config: LoggingConfig | None) -> DeploymentSpec:
    config, version = node.config, node.config.version
    if config.logging_config is None:
        config = replace(config, logging_config=logging_config)
    full_version = uuid.uuid4().hex if version is None else f"{version} {config.code_options()}"
    let_travel(node.target)
    try:
        payload = ray.put((node.target, node.args, node.kwargs))
    except SerializationError as error:
        parts = {node.target.__qualname__: node.target, **named(node.args, node.kwargs)}
        raise explained(error, parts, f"deployment {node.name!r}") from error
    # The controller gets them as references: it loads no user code.
    shared = [each.for_replicas(config.ray_actor_options) for each in config.deployment_actors]
    actors = tuple(
        ActorSpec(each.name, [ray.put(each)], each.actor_options.get("runtime_env"))
        for each in shared
    )
    config = replace(config, deployment_actors=())
    return DeploymentSpec(node.name, config, full_version, [payload], actors)


def _block(targets: Sequence[RunTarget], url: str) -> None:
    """Wait for Ctrl-C, then leave nothing behind."""
    try:
        for target in targets:
            prefix = target.route_prefix
            where = "handles only" if prefix is None or not url else f"{url}{prefix}"
            sys.stderr.write(f"Application {target.name!r} runs ({where}); Ctrl-C stops it.\n")
        sys.stderr.flush()
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        sys.stderr.write("Serve shuts down.\n")
    finally:
        shutdown()
