"""Controller: the actor that drives the DeploymentStates, and owns the port.

It decides nothing about replicas: events go into `_state.py`, the commands that come out become
actors made, drained and killed, and tables published. No user code runs in its process.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import heliostat as ray
from heliostat.serve import _describe as describe
from heliostat.serve import _logs
from heliostat.serve._acceptor import Acceptor, Queue
from heliostat.serve._call import Table
from heliostat.serve._connections import this_process
from heliostat.serve._deployment_actors import DeploymentActors
from heliostat.serve._describe import Decision
from heliostat.serve._grpc import GrpcServer
from heliostat.serve._node_proxy import NodeProxies, acceptor_of, are_wanted, proxy_of, url_of
from heliostat.serve._overview import overview_of
from heliostat.serve._proxy import Route
from heliostat.serve._replica import Load
from heliostat.serve._replica_actors import ReplicaActors
from heliostat.serve._scaling import ApplicationPolicy, Scaling
from heliostat.serve._specs import ApplicationSpec, DeploymentSpec
from heliostat.serve._state import (
    Command,
    Deployed,
    DeploymentState,
    DrainReplica,
    Event,
    Publish,
    Removed,
    Scaled,
    StartReplica,
    StopReplica,
    Tick,
)
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.exceptions import ExternalScalerDisabledError, RayServeException
from heliostat.serve.logging_config import LoggingConfig
from heliostat.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    ProxyStatus,
    ServeStatus,
)
from heliostat.serve.server_options import (
    ControllerOptions,
    HTTPOptions,
    TracingConfig,
    gRPCOptions,
)

_DECISIONS_KEPT = 10  # of autoscaling, for who asks
ENDED = "Serve ended meanwhile, as another thread or program may have asked for; deploy again"
_RELEASE_S = 1.0  # how long an update waits for former replicas, which may be busy


@dataclass
class _Deployment:
    app: str
    spec: DeploymentSpec
    state: DeploymentState
    is_ingress: bool
    table: Table
    scaling: Scaling
    replicas: ReplicaActors = field(init=False)
    shared: DeploymentActors = field(init=False)
    timer: asyncio.TimerHandle | None = None
    measuring: asyncio.Task[None] | None = None
    decisions: deque[Decision] = field(default_factory=lambda: deque(maxlen=_DECISIONS_KEPT))


@dataclass
class _Application:
    spec: ApplicationSpec
    deployed_at: float
    deleting: bool = False
    retiring: asyncio.Task[None] | None = None


class Controller:
    """All of Serve's state; an actor with `async` methods only."""

    def __init__(
        self,
        http: HTTPOptions,
        grpc: gRPCOptions,
        logging_config: LoggingConfig | None = None,
        tracing: TracingConfig | None = None,
        options: ControllerOptions | None = None,
    ) -> None:
        self._http = http
        self._logging_config = logging_config
        self._grpc = grpc
        self._tracing = tracing
        self._options = options  # carried out when this process was made
        self._grpc_server: Any = None  # an actor; None when nothing is offered over gRPC
        self._began = time.time()
        self._apps: dict[str, _Application] = {}
        self._deployments: dict[tuple[str, str], _Deployment] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._acceptor: Acceptor | None = None
        self._elsewhere: NodeProxies | None = None  # on the other machines, if there are any
        self._stopping: asyncio.Task[None] | None = None
        self._news: asyncio.Event | None = None  # made in the loop, by `start`
        self._numbers = itertools.count(1)  # no two replicas or tables have the same

    async def start(self, caller: str) -> tuple[Any, ...]:
        """Listen, once; returns the options in force.

        Raises:
            PortTakenError: When the port is taken.
            RuntimeError: On an engine without processes of its own.
            RayServeException: When it has been stopped: it is to be made anew.
        """
        if self._stopping is not None:
            await asyncio.wait([self._stopping])
            raise RayServeException(ENDED)
        if this_process() == caller:
            raise RuntimeError(
                "Serve needs processes of its own to listen: the engine 'inline' runs everything "
                "in the calling thread; use heliostat.init() without engine='inline' or "
                "local_mode=True"
            )
        if self._news is None:
            _logs.install(self._logging_config, {"component_name": "controller"})
            self._proxy, self._end_tracing = proxy_of(self._http, self._tracing)
            if not self._http.is_disabled:
                self._acceptor = acceptor_of(self._proxy, self._http, self._on_connections_waiting)
            self._news = asyncio.Event()  # started: what fails before may be tried again
            if not self._http.is_disabled:
                await self._listen_for_grpc()
                if are_wanted(self._http):
                    self._elsewhere = NodeProxies(self._http, self._logging_config, self._tracing)
                    self._keeping = self._spawn(self._elsewhere.keep())
        return self._http, self._grpc, self._logging_config, self._tracing, self._options

    async def _listen_for_grpc(self) -> None:
        if self._grpc.grpc_servicer_functions:
            make = ray.remote(GrpcServer).options(num_cpus=0, max_concurrency=100_000)
            self._grpc_server = make.remote(self._grpc, self._http.host)
            await self._grpc_server.start.remote()

    async def url(self) -> str:
        """Where Serve listens; empty when nobody does."""
        return "" if self._acceptor is None else url_of(self._acceptor, self._http)

    async def deploy(self, spec: ApplicationSpec) -> None:
        """Want this application from now on.

        Raises:
            ValueError: When another application has the route prefix.
            RayServeException: When it is being stopped.
        """
        if self._stopping is not None:
            raise RayServeException(ENDED)
        for other in self._apps.values():
            taken = other.spec.route_prefix
            if other.spec.name != spec.name and taken is not None and taken == spec.route_prefix:
                raise ValueError(
                    f"route_prefix {taken!r} belongs to application {other.spec.name!r}; choose "
                    f"another, or serve.delete({other.spec.name!r}) first"
                )
        spec = spec.with_logging(self._logging_config)
        policy = spec.autoscaling_policy
        together = None if policy is None else ApplicationPolicy(policy.get_policy())
        app = self._apps[spec.name] = _Application(spec, time.time())
        for deployment_spec in spec.deployments:
            is_ingress = deployment_spec is spec.deployments[-1] and spec.route_prefix is not None
            deployment = self._deployment(spec.name, deployment_spec, is_ingress)
            config, version = deployment_spec.config, f"{deployment_spec.version} {is_ingress}"
            if version == deployment.state.target.version:
                deployment.replicas.reconfigure(config)
            number = deployment.scaling.configure(config, spec.target_capacity, together)
            self._feed(
                deployment,
                Deployed(
                    version,
                    number,
                    config.failed_starts_allowed(),
                    config.graceful_shutdown_timeout_s,
                    *config.pace(number),
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
            releasing = [task for d in self._of(app_name) for task in d.replicas.releasing]
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
        others = {} if self._elsewhere is None else self._elsewhere.statuses
        return ServeStatus(
            proxies={"127.0.0.1": ProxyStatus.HEALTHY, **others},
            applications={name: one for name, one in overviews.items() if one is not None},
            target_capacity=self._capacity(),
        )

    async def describe(self) -> dict[str, Any]:
        """What the REST interface tells beside the status."""
        apps: dict[str, Any] = {}
        for name, app in self._apps.items():
            told = {
                each.spec.name: describe.deployment(
                    each.spec, each.state, each.replicas, each.decisions
                )
                for each in self._of(name)
            }
            apps[name] = {
                "route_prefix": app.spec.route_prefix,
                "external_scaler_enabled": app.spec.external_scaler_enabled,
                "deployments": told,
            }
        tasks = len(asyncio.all_tasks())
        health = describe.health(self._began, tasks)
        urls = [url for url in (await self.url(),) if url]
        urls += [] if self._elsewhere is None else self._elsewhere.urls.values()
        return {"applications": apps, "health": health, "urls": urls}

    def _capacity(self) -> float | None:
        """What part of their replicas all applications have; they were given it together."""
        capacities = {app.spec.target_capacity for app in self._apps.values()}
        return capacities.pop() if len(capacities) == 1 else None

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
        """End all applications, gracefully, and free the port; no other is deployed from now on."""
        if self._stopping is None:
            self._stopping = self._spawn(self._stop())
        await self._stopping

    async def _stop(self) -> None:
        shared = [deployment.shared for deployment in self._deployments.values()]
        await asyncio.gather(*(self.delete(name) for name in list(self._apps)))
        await asyncio.gather(*(each.until_ended() for each in shared))
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
        if self._elsewhere is not None:
            self._keeping.cancel()
            await self._elsewhere.stop()
        if self._grpc_server is not None:
            await self._grpc_server.stop.remote()
            ray.kill(self._grpc_server)
        if self._news is not None:
            await asyncio.to_thread(self._end_tracing)

    async def scale(self, app_name: str, deployment_name: str, number: int) -> None:
        """Have so many replicas, as somebody outside says who looks after that.

        Raises:
            ExternalScalerDisabledError: When the application was run without such a one.
            LookupError: When there is no such deployment.
        """
        app = self._apps.get(app_name)
        deployment = self._deployments.get((app_name, deployment_name))
        if app is None or app.deleting or deployment is None or deployment.state.removed:
            raise LookupError(f"application {app_name!r} has no deployment {deployment_name!r}")
        if not app.spec.external_scaler_enabled:
            raise ExternalScalerDisabledError(
                f"application {app_name!r} was run without external_scaler_enabled=True"
            )
        self._feed(deployment, Scaled(number))

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
            names = deployment.table.replicas
            self._apply(deployment, await deployment.replicas.loads(names, max(interval_s, 1.0)))

    def _apply(self, deployment: _Deployment, found: dict[str, Load]) -> None:
        loads = {name: load.requests for name, load in found.items()}
        stats = {name: load.stats for name, load in found.items()}
        number = deployment.scaling.measured(loads, asyncio.get_running_loop().time(), stats)
        if number is not None and not deployment.state.removed:
            before = deployment.state.target.num_replicas
            if number != before:
                deployment.decisions.append(Decision(time.time(), before, number))
            self._feed(deployment, Scaled(number))

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
            found.shared = DeploymentActors(app, spec.name, config.health_check_period_s)
            found.replicas = ReplicaActors(
                app,
                self._tracing,
                found.shared,
                self._routes,
                functools.partial(self._feed, found),
                functools.partial(self._note, found),
            )
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
        if deployment.state.is_complete:
            deployment.replicas.number(deployment.table.replicas)
        versions = deployment.replicas.versions()
        if not deployment.state.removed:
            versions.add(deployment.spec.code_version)
        deployment.shared.keep(versions)
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
                http = self._http if deployment.is_ingress else None
                number = deployment.state.target.num_replicas
                deployment.replicas.start(name, deployment.spec, http, number)
            case DrainReplica(name):
                deployment.replicas.drain(name)
            case StopReplica(name):
                deployment.replicas.stop(name)
            case Publish(names):
                self._publish(deployment, {n: deployment.replicas.actors[n] for n in names})

    def _note(self, deployment: _Deployment) -> None:
        """A replica has something new to say of itself: callers hear of it."""
        self._publish(deployment, deployment.table.replicas)
        self._wake()

    def _set_timer(self, deployment: _Deployment, now: float) -> None:
        if deployment.timer is not None:
            deployment.timer.cancel()
            deployment.timer = None
        when = deployment.state.next_tick(now)
        if when is not None:
            loop = asyncio.get_running_loop()
            deployment.timer = loop.call_at(when, self._feed, deployment, Tick())

    def _bury(self, deployment: _Deployment) -> None:
        """Forget a deployment that is gone, and its application with the last of them."""
        key = (deployment.app, deployment.spec.name)
        if not deployment.state.is_gone or self._deployments.get(key) is not deployment:
            return
        del self._deployments[key]
        app = self._apps.get(deployment.app)
        if app is not None and app.deleting and not self._of(deployment.app):
            del self._apps[deployment.app]

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
            {name: notes.models for name, notes in deployment.replicas.notes.items()},
            deployment.scaling.interval_s is not None,
            config.request_router_config,
            {name: notes.stats for name, notes in deployment.replicas.notes.items()},
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
            deployment.replicas.set_routes(routes)

    def _update_acceptor(self) -> None:
        if self._acceptor is None:
            return
        if not self._proxy.is_ready:  # once it is, it stays so: who sees it ill ends it
            found = {one.status for name in self._apps if (one := self._overview(name))}
            self._proxy.is_ready = found == {ApplicationStatus.RUNNING}
        doors: dict[str, dict[str, str]] = {}
        queues: dict[str, Queue] = {}
        for deployment in self._deployments.values():
            addresses = deployment.replicas.addresses
            far = deployment.is_ingress and deployment.table.replicas.keys() - addresses
            if far or deployment.spec.config.request_router_config is not None:
                continue  # its requests are forwarded, one by one, where a router says
            if deployment.is_ingress and not deployment.table.unavailable:
                most = deployment.spec.config.max_queued_requests
                queues[deployment.app] = Queue(most, self._http.request_timeout_s)
            doors.setdefault(deployment.app, {}).update(
                {name: addresses[name] for name in deployment.table.replicas if name in addresses}
            )
        routes = self._routes()
        self._acceptor.update(routes, doors, queues)
        if self._elsewhere is not None:
            self._elsewhere.tell(routes, is_ready=self._proxy.is_ready)

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


def _no_table(app_name: str, deployment_name: str) -> Table:
    where = f"application {app_name!r} has no deployment {deployment_name!r}"
    return Table(0, {}, 1, -1, f"{where}; it was deleted, or never deployed")
