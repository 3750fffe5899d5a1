"""Controller: the actor that drives the DeploymentStates, and owns the port.

It decides nothing about replicas: events go into `_state.py`, the commands that come out become
actors made, drained and killed, and tables published. No user code runs in its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import heliostat as ray
from heliostat.exceptions import RayError
from heliostat.serve import _logs
from heliostat.serve._acceptor import Acceptor, Queue, listen
from heliostat.serve._call import Table
from heliostat.serve._connections import Connections, this_process, whereabouts
from heliostat.serve._grpc import GrpcServer
from heliostat.serve._overview import overview_of
from heliostat.serve._proxy import Proxy, Route
from heliostat.serve._replica import Notes, Replica, forward
from heliostat.serve._room import lacking
from heliostat.serve._scaling import Scaling
from heliostat.serve._specs import ApplicationSpec, DeploymentSpec
from heliostat.serve._state import (
    Command,
    Deployed,
    DeploymentState,
    Drained,
    DrainReplica,
    Event,
    Publish,
    Removed,
    ReplicaLost,
    ReplicaUp,
    Scaled,
    StartReplica,
    Starved,
    StopReplica,
    Tick,
)
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.config import DeploymentConfig, HTTPOptions, gRPCOptions
from heliostat.serve.logging_config import LoggingConfig
from heliostat.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    ProxyStatus,
    ServeStatus,
)

logger = logging.getLogger("heliostat.serve")

_ROOM_PATIENCE_S = 0.5
_RELEASE_S = 1.0  # how long an update waits for former replicas, which may be busy
_FAILED_CHECKS_ALLOWED = 3


@dataclass
class _Deployment:
    app: str
    spec: DeploymentSpec
    state: DeploymentState
    is_ingress: bool
    table: Table
    scaling: Scaling
    actors: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Notes] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    measuring: asyncio.Task[None] | None = None
    releasing: set[asyncio.Future[Any]] = field(default_factory=set)


@dataclass
class _Application:
    spec: ApplicationSpec
    deployed_at: float
    deleting: bool = False
    retiring: asyncio.Task[None] | None = None


class Controller:
    """All of Serve's state; an actor with `async` methods only."""

    def __init__(
        self, http: HTTPOptions, grpc: gRPCOptions, logging_config: LoggingConfig | None = None
    ) -> None:
        self._http = http
        self._logging_config = logging_config
        self._grpc = grpc
        self._grpc_server: Any = None  # an actor; None when nothing is offered over gRPC
        self._apps: dict[str, _Application] = {}
        self._deployments: dict[tuple[str, str], _Deployment] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._acceptor: Acceptor | None = None
        self._news: asyncio.Event | None = None  # made in the loop, by `start`
        self._numbers = itertools.count(1)  # no two replicas or tables have the same

    async def start(self, caller: str) -> tuple[HTTPOptions, gRPCOptions, LoggingConfig | None]:
        """Listen, once; returns the options in force.

        Raises:
            PortTakenError: When the port is taken.
            RuntimeError: On an engine without processes of its own.
        """
        if this_process() == caller:
            raise RuntimeError(
                "Serve needs processes of its own to listen: the engine 'inline' runs everything "
                "in the calling thread; use heliostat.init() without engine='inline' or "
                "local_mode=True"
            )
        if self._news is None:
            _logs.install(self._logging_config, {"component_name": "controller"})
            self._news = asyncio.Event()
            self._proxy = Proxy(forward, self._http)
            if not self._http.is_disabled:
                self._acceptor = self._listen(self._http)
                await self._listen_for_grpc()
        return self._http, self._grpc, self._logging_config

    async def _listen_for_grpc(self) -> None:
        if self._grpc.grpc_servicer_functions:
            make = ray.remote(GrpcServer).options(num_cpus=0, max_concurrency=100_000)
            self._grpc_server = make.remote(self._grpc, self._http.host)
            await self._grpc_server.start.remote()

    def _listen(self, http: HTTPOptions) -> Acceptor:
        try:
            listener = listen(http.host or "", http.port)
        except OSError:
            self._news = None  # not started: it may be tried again
            raise
        own = Connections(self._proxy, http.keep_alive_timeout_s, http.tls())
        return Acceptor(
            listener,
            own,
            http.keep_alive_timeout_s,
            self._on_connections_waiting,
            reads_first_line=http.ssl_certfile is None,
        )

    async def url(self) -> str:
        """Where Serve listens; empty when nobody does."""
        if self._acceptor is None:
            return ""
        host, port = self._acceptor.address
        scheme = "http" if self._http.ssl_certfile is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def deploy(self, spec: ApplicationSpec) -> None:
        """Want this application from now on.

        Raises:
            ValueError: When another application has the route prefix.
        """
        for other in self._apps.values():
            taken = other.spec.route_prefix
            if other.spec.name != spec.name and taken is not None and taken == spec.route_prefix:
                raise ValueError(
                    f"route_prefix {taken!r} belongs to application {other.spec.name!r}; choose "
                    f"another, or serve.delete({other.spec.name!r}) first"
                )
        spec = spec.with_logging(self._logging_config)
        app = self._apps[spec.name] = _Application(spec, time.time())
        for deployment_spec in spec.deployments:
            is_ingress = deployment_spec is spec.deployments[-1] and spec.route_prefix is not None
            deployment = self._deployment(spec.name, deployment_spec, is_ingress)
            config, version = deployment_spec.config, f"{deployment_spec.version} {is_ingress}"
            if version == deployment.state.target.version:
                self._pass_on(deployment)
            number = deployment.scaling.configure(config)
            self._feed(
                deployment,
                Deployed(
                    version,
                    number,
                    config.failed_starts_allowed(),
                    config.graceful_shutdown_timeout_s,
                ),
            )
            # Whatever the state has published: options are in the table too.
            self._publish(deployment, deployment.table.replicas)
            self._scale(deployment)
        self._wake()
        self._publish_routes()
        app.retiring = self._spawn(self._retire(app))

    async def until_deployed(self, app_name: str) -> str:
        """Wait until the application runs, and its former replicas have let go of connections;
        returns why it cannot, or an empty string."""
        problem = await self._until_running(app_name)
        app = self._apps.get(app_name)
        if not problem and app is not None and app.retiring is not None:
            await asyncio.wait([app.retiring], timeout=_RELEASE_S)
            releasing = [task for d in self._of(app_name) for task in d.releasing]
            if releasing:
                await asyncio.wait(releasing, timeout=_RELEASE_S)
        return problem

    async def _until_running(self, app_name: str) -> str:
        while True:
            overview = self._overview(app_name)
            if overview is None:
                return f"application {app_name!r} was deleted before it was up"
            if overview.status == ApplicationStatus.RUNNING:
                return ""
            if overview.status == ApplicationStatus.DEPLOY_FAILED:
                return overview.message
            await self._until_news()

    async def watch(self, app_name: str, deployment_name: str, known_version: int) -> Table:
        """The deployment's table, as soon as it is another than the known one."""
        while True:
            deployment = self._deployments.get((app_name, deployment_name))
            table = deployment.table if deployment else _no_table(app_name, deployment_name)
            if table.version != known_version:
                return table
            await self._until_news()

    async def ingress_of(self, app_name: str) -> str | None:
        """The name of the application's ingress; None when there is no such application."""
        app = self._apps.get(app_name)
        return None if app is None else app.spec.deployments[-1].name

    async def applications(self) -> dict[str, list[str]]:
        """The names of the deployments of each application."""
        return {
            name: [deployment.name for deployment in app.spec.deployments]
            for name, app in self._apps.items()
        }

    async def status(self) -> ServeStatus:
        """What `serve.status()` shows."""
        overviews = {name: self._overview(name) for name in self._apps}
        return ServeStatus(
            proxies={"127.0.0.1": ProxyStatus.HEALTHY},
            applications={name: one for name, one in overviews.items() if one is not None},
        )

    async def delete(self, app_name: str) -> bool:
        """End an application and wait until it is gone; False when there is none."""
        app = self._apps.get(app_name)
        if app is None:
            return False
        app.deleting = True
        self._publish_routes()
        # Callers before those they call, so that what they have begun can end.
        order = {spec.name: place for place, spec in enumerate(app.spec.deployments)}
        for deployment in sorted(self._of(app_name), key=lambda d: -order.get(d.spec.name, -1)):
            if self._apps.get(app_name) is not app:
                break  # deployed again meanwhile
            self._feed(deployment, Removed())
            while deployment.state.removed and not deployment.state.is_gone:
                await self._until_news()
        return True

    async def stop(self) -> None:
        """End all applications, gracefully, and free the port."""
        await asyncio.gather(*(self.delete(name) for name in list(self._apps)))
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        if self._grpc_server is not None:
            await self._grpc_server.stop.remote()
            ray.kill(self._grpc_server)
            self._grpc_server = None

    async def report_queued(
        self, app_name: str, deployment_name: str, caller: str, number: int
    ) -> None:
        """So many calls of a process have no replica yet."""
        deployment = self._deployments.get((app_name, deployment_name))
        if deployment is not None:
            now = asyncio.get_running_loop().time()
            deployment.scaling.queued(caller, number, now)
            self._wake_up(deployment)

    def _on_connections_waiting(self, app_name: str, number: int) -> None:
        """The acceptor keeps so many for the application's first replica."""
        app = self._apps.get(app_name)
        ingress = None if app is None else app.spec.deployments[-1].name
        deployment = self._deployments.get((app_name, ingress or ""))
        if deployment is not None:
            now = asyncio.get_running_loop().time()
            deployment.scaling.queued("", number, now)
            self._wake_up(deployment)

    def _wake_up(self, deployment: _Deployment) -> None:
        """A deployment that sleeps does not wait for the next measurement."""
        if deployment.state.target.num_replicas == 0:
            self._apply(deployment, {})

    def _scale(self, deployment: _Deployment) -> None:
        """Measure its load from now on, if its number of replicas depends on that."""
        if deployment.measuring is not None:
            deployment.measuring.cancel()
            deployment.measuring = None
        if deployment.scaling.interval_s is not None:
            measuring = self._measure(deployment, deployment.scaling.interval_s)
            deployment.measuring = asyncio.get_running_loop().create_task(measuring)

    async def _measure(self, deployment: _Deployment, interval_s: float) -> None:
        while not deployment.state.removed:
            await asyncio.sleep(interval_s)
            names = [name for name in deployment.table.replicas if name in deployment.actors]
            asked = [_answer_of(deployment.actors[name].load.remote()) for name in names]
            # One that does not answer in time is left out: it may be dying, or is not measured.
            done = await asyncio.gather(
                *(asyncio.wait_for(answer, max(interval_s, 1.0)) for answer in asked),
                return_exceptions=True,
            )
            loads = {n: v for n, v in zip(names, done, strict=True) if isinstance(v, float)}
            self._apply(deployment, loads)

    def _apply(self, deployment: _Deployment, loads: dict[str, float]) -> None:
        number = deployment.scaling.measured(loads, asyncio.get_running_loop().time())
        if number is not None and not deployment.state.removed:
            self._feed(deployment, Scaled(number))

    def _pass_on(self, deployment: _Deployment) -> None:
        """Options that need no new replicas go to those there are."""
        for name in deployment.actors:
            self._spawn(self._reconfigure(deployment, name, deployment.spec.config))

    async def _reconfigure(
        self, deployment: _Deployment, name: str, config: DeploymentConfig
    ) -> None:
        try:
            await deployment.actors[name].reconfigure.remote(config)
        except RayError as error:
            logger.warning("replica %s could not be reconfigured, and ends: %s", name, error)
            self._stop_replica(deployment, name)

    async def _retire(self, app: _Application) -> None:
        """End what an application has no more, once its new version needs it no more."""
        wanted = {deployment.name for deployment in app.spec.deployments}
        if await self._until_running(app.spec.name) or self._apps.get(app.spec.name) is not app:
            return
        for deployment in self._of(app.spec.name):
            if deployment.spec.name not in wanted:
                self._feed(deployment, Removed())

    def _deployment(self, app: str, spec: DeploymentSpec, is_ingress: bool) -> _Deployment:
        found = self._deployments.get((app, spec.name))
        if found is None:
            config = spec.config
            table = Table(
                next(self._numbers),
                {},
                config.max_ongoing_requests,
                config.max_queued_requests,
                "",
            )
            state = DeploymentState(f"{app}#{spec.name}", self._numbers)
            scaling = Scaling(DeploymentID(spec.name, app))
            found = _Deployment(app, spec, state, is_ingress, table, scaling)
            self._deployments[app, spec.name] = found
        found.spec, found.is_ingress = spec, is_ingress
        return found

    def _feed(self, deployment: _Deployment, event: Event) -> None:
        """Let the state decide, do what it says, and wake whoever waits for news."""
        now = asyncio.get_running_loop().time()
        failed_before = deployment.state.failed
        for command in deployment.state.handle(event, now):
            self._perform(deployment, command)
        if deployment.state.failed != failed_before:
            self._publish(deployment, deployment.table.replicas)
        self._set_timer(deployment, now)
        self._bury(deployment)
        self._wake()

    async def _until_news(self) -> None:
        assert self._news is not None, "start comes first"
        await self._news.wait()

    def _wake(self) -> None:
        """Whoever waits for news looks again."""
        assert self._news is not None, "start comes first"
        self._news.set()
        self._news = asyncio.Event()

    def _perform(self, deployment: _Deployment, command: Command) -> None:
        match command:
            case StartReplica(name):
                self._spawn(self._bring_up(deployment, name))
            case DrainReplica(name):
                actor = deployment.actors[name]
                released = asyncio.ensure_future(_answer_of(actor.release.remote()))
                deployment.releasing.add(released)
                released.add_done_callback(deployment.releasing.discard)
                self._spawn(self._drain(deployment, name, actor, released))
            case StopReplica(name):
                self._stop_replica(deployment, name)
            case Publish(names):
                self._publish(deployment, {name: deployment.actors[name] for name in names})

    def _set_timer(self, deployment: _Deployment, now: float) -> None:
        if deployment.timer is not None:
            deployment.timer.cancel()
            deployment.timer = None
        when = deployment.state.next_tick(now)
        if when is not None:
            deployment.timer = asyncio.get_running_loop().call_at(
                when, self._feed, deployment, Tick()
            )

    def _bury(self, deployment: _Deployment) -> None:
        """Forget a deployment that is gone, and its application with the last of them."""
        key = (deployment.app, deployment.spec.name)
        if not deployment.state.is_gone or self._deployments.get(key) is not deployment:
            return
        del self._deployments[key]
        app = self._apps.get(deployment.app)
        if app is not None and app.deleting and not self._of(deployment.app):
            del self._apps[deployment.app]

    async def _bring_up(self, deployment: _Deployment, name: str) -> None:
        """A replica's whole life: place it, run its constructor, wait for its death."""
        error = "the replica ended"
        try:
            actor = self._create(deployment, name)
            deployment.actors[name] = actor
            await self._place(deployment, name, actor)
            up = await actor.start.remote(deployment.spec.payload, self._routes())
            if up.address and up.where == whereabouts():
                deployment.addresses[name] = up.address
                await actor.set_routes.remote(self._routes())
            self._feed(deployment, ReplicaUp(name))
            beside = [asyncio.ensure_future(self._check_health(deployment, name, actor))]
            if up.has_notes:
                beside.append(asyncio.ensure_future(self._watch_notes(deployment, name, actor)))
            try:
                await actor.until_gone.remote()
            finally:
                for task in beside:
                    task.cancel()
        except RayError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001 - options that Core refuses; told by run()
            error = f"{type(failure).__name__}: {failure}"
        dead = deployment.actors.pop(name, None)
        deployment.addresses.pop(name, None)
        deployment.notes.pop(name, None)
        if dead is not None:
            ray.kill(dead)
        if name in deployment.table.replicas or not deployment.state.removed:
            logger.debug("replica %s: %s", name, error)
        self._feed(deployment, ReplicaLost(name, error))

    def _create(self, deployment: _Deployment, name: str) -> Any:
        options = {"num_cpus": 1, **deployment.spec.config.ray_actor_options}
        http = self._http if deployment.is_ingress else None
        return (
            ray.remote(Replica)
            .options(max_concurrency=100_000, **options)
            .remote(deployment.app, deployment.spec.name, name, deployment.spec.config, http)
        )

    async def _place(self, deployment: _Deployment, name: str, actor: Any) -> None:
        """Wait for the replica's process; say so when there is no room for it."""
        placed = asyncio.ensure_future(_answer_of(actor.placed.remote()))
        is_told = False
        while not placed.done():
            await asyncio.wait([placed], timeout=_ROOM_PATIENCE_S)
            missing = "" if placed.done() else lacking(deployment.spec.config)
            if missing:
                self._feed(deployment, Starved(name, missing))
            if missing and not is_told:
                is_told = True
                logger.warning("replica %s waits for room: %s.", name, missing)
        await placed

    async def _drain(
        self, deployment: _Deployment, name: str, actor: Any, released: asyncio.Future[Any]
    ) -> None:
        with contextlib.suppress(RayError):  # if it dies, its own task hears of that
            await released
            await actor.drain.remote()
            self._feed(deployment, Drained(name))

    def _stop_replica(self, deployment: _Deployment, name: str) -> None:
        actor = deployment.actors.get(name)
        if actor is not None:
            ray.kill(actor)  # `_bring_up` gets the error of its pending call, and goes on there

    async def _check_health(self, deployment: _Deployment, name: str, actor: Any) -> None:
        """Kill a replica that fails or does not answer several checks in a row."""
        config, failures = deployment.spec.config, 0
        while failures < _FAILED_CHECKS_ALLOWED:
            await asyncio.sleep(config.health_check_period_s)
            try:
                check = _answer_of(actor.check_health.remote())
                await asyncio.wait_for(check, config.health_check_timeout_s)
                failures = 0
            except (RayError, TimeoutError) as error:
                failures += 1
                logger.warning("health check of replica %s failed: %s", name, error)
        self._stop_replica(deployment, name)

    async def _watch_notes(self, deployment: _Deployment, name: str, actor: Any) -> None:
        """Tell callers which models the replica has, and its statistics, whenever they change."""
        known = None
        with contextlib.suppress(RayError):  # if it dies, its own task hears of that
            while True:
                known = deployment.notes[name] = await actor.notes.remote(known)
                self._publish(deployment, deployment.table.replicas)
                self._wake()

    def _publish(self, deployment: _Deployment, replicas: dict[str, Any]) -> None:
        config, unavailable = deployment.spec.config, ""
        if deployment.state.removed:
            unavailable = f"deployment {deployment.spec.name!r} was deleted"
        elif deployment.state.failed and not replicas:
            unavailable = f"deployment {deployment.spec.name!r} could not be deployed"
        deployment.table = Table(
            next(self._numbers),
            replicas,
            config.max_ongoing_requests,
            config.max_queued_requests,
            unavailable,
            {name: notes.models for name, notes in deployment.notes.items()},
            deployment.scaling.interval_s is not None,
            config.request_router_config,
            {name: notes.stats for name, notes in deployment.notes.items()},
        )
        self._update_acceptor()

    def _publish_routes(self) -> None:
        routes = self._routes()
        self._proxy.set_routes(routes)
        self._update_acceptor()
        if self._grpc_server is not None:
            running = {name: app for name, app in self._apps.items() if not app.deleting}
            ingresses = {name: app.spec.deployments[-1].name for name, app in running.items()}
            self._grpc_server.set_applications.remote(ingresses)
        for deployment in self._deployments.values():
            for name in deployment.addresses:
                deployment.actors[name].set_routes.remote(routes)

    def _update_acceptor(self) -> None:
        if self._acceptor is None:
            return
        doors: dict[str, dict[str, str]] = {}
        queues: dict[str, Queue] = {}
        for deployment in self._deployments.values():
            far = deployment.is_ingress and deployment.table.replicas.keys() - deployment.addresses
            if far or deployment.spec.config.request_router_config is not None:
                continue  # its requests are forwarded, one by one, where a router says
            if deployment.is_ingress and not deployment.table.unavailable:
                most = deployment.spec.config.max_queued_requests
                queues[deployment.app] = Queue(most, self._http.request_timeout_s)
            doors.setdefault(deployment.app, {}).update(
                {
                    name: deployment.addresses[name]
                    for name in deployment.table.replicas
                    if name in deployment.addresses
                }
            )
        self._acceptor.update(self._routes(), doors, queues)

    def _routes(self) -> list[Route]:
        return [
            Route(app.spec.route_prefix, name, app.spec.deployments[-1].name)
            for name, app in self._apps.items()
            if app.spec.route_prefix is not None and not app.deleting
        ]

    def _of(self, app_name: str) -> list[_Deployment]:
        return [d for (app, _), d in self._deployments.items() if app == app_name]

    def _overview(self, app_name: str) -> ApplicationStatusOverview | None:
        app = self._apps.get(app_name)
        if app is None:
            return None
        overviews = {d.spec.name: d.state.overview() for d in self._of(app_name)}
        wanted = [spec.name for spec in app.spec.deployments]
        return overview_of(overviews, wanted, app.deployed_at, deleting=app.deleting)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _answer_of(ref: Awaitable[Any]) -> Any:
    return await ref


def _no_table(app_name: str, deployment_name: str) -> Table:
    where = f"application {app_name!r} has no deployment {deployment_name!r}"
    return Table(0, {}, 1, -1, f"{where}; it was deleted, or never deployed")
