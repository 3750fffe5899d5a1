"""ReplicaActors: the replicas of one deployment as actors: made, placed, watched, drained, killed.

It carries out what the DeploymentState says and tells it what became of that. It decides nothing
about numbers or versions, and publishes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import heliostat as ray
from heliostat.exceptions import RayActorError, RayError, RayTaskError
from heliostat.serve._connections import whereabouts
from heliostat.serve._deployment_actors import DeploymentActors
from heliostat.serve._proxy import Route
from heliostat.serve._replica import Identity, Load, Notes, Replica
from heliostat.serve._room import lacking
from heliostat.serve._specs import DeploymentSpec
from heliostat.serve._state import Drained, Event, ReplicaLost, ReplicaUp, Starved
from heliostat.serve.config import DeploymentConfig, HTTPOptions
from heliostat.serve.server_options import TracingConfig
from heliostat.strategies import PlacementGroupSchedulingStrategy
from heliostat.util.placement_group import placement_group, remove_placement_group

logger = logging.getLogger("heliostat.serve")

_ROOM_PATIENCE_S = 0.5
_TIMES_UNTIL_TOLD = 4  # that it found no room
_FAILED_CHECKS_ALLOWED = 3


class ReplicaActors:
    """The living replicas of one deployment.

    Args:
        app_name: The application.
        tracing: Which of its requests have spans.
        shared: Makes the actors that must be there before a replica's constructor runs.
        routes: The table of routes, for ingresses.
        feed: Takes what happened to the state.
        on_notes: Called when a replica has something new to say of itself.
    """

    def __init__(
        self,
        app_name: str,
        tracing: TracingConfig | None,
        shared: DeploymentActors,
        routes: Callable[[], list[Route]],
        feed: Callable[[Event], None],
        on_notes: Callable[[], None],
    ) -> None:
        self._app_name = app_name
        self._tracing = tracing
        self._shared = shared
        self._routes = routes
        self._feed = feed
        self._on_notes = on_notes
        self.actors: dict[str, Any] = {}
        self.addresses: dict[str, str] = {}
        self.notes: dict[str, Notes] = {}
        self.began: dict[str, float] = {}  # when each was asked for, by the clock on the wall
        self.pids: dict[str, int] = {}
        self.releasing: set[asyncio.Future[Any]] = set()
        self._identities: dict[str, Identity] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self, name: str, spec: DeploymentSpec, http: HTTPOptions | None, world_size: int
    ) -> None:
        """Make a replica.

        Args:
            name: Its name.
            spec: What it runs.
            http: How it takes HTTP connections, if it is an ingress.
            world_size: How many replicas there shall be.
        """
        taken = {identity.rank for identity in self._identities.values()}
        rank = next(number for number in range(len(taken) + 1) if number not in taken)
        self._identities[name] = Identity(name, rank, world_size, spec.code_version)
        self.began[name] = time.time()
        self._spawn(self._live(name, spec, http))

    def drain(self, name: str) -> None:
        """Let it finish what it has, and nothing else."""
        actor = self.actors[name]
        released = asyncio.ensure_future(actor.release.remote())
        self.releasing.add(released)
        released.add_done_callback(self.releasing.discard)
        self._spawn(self._drain(name, actor, released))

    def stop(self, name: str) -> None:
        """End it now."""
        actor = self.actors.get(name)
        if actor is not None:
            ray.kill(actor)  # `_live` gets the error of its pending call, and goes on there

    def reconfigure(self, config: DeploymentConfig) -> None:
        """Options that need no new replicas go to those there are."""
        for name in self.actors:
            self._spawn(self._reconfigure(name, config))

    def set_routes(self, routes: list[Route]) -> None:
        """Another table of routes, for those that take HTTP connections."""
        for name in self.addresses:
            self.actors[name].set_routes.remote(routes)

    def number(self, names: Iterable[str]) -> None:
        """These are all there shall be: rank them from 0, and let them know how many they are."""
        living = [name for name in names if name in self.actors]
        ordered = sorted(living, key=lambda name: self._identities[name].rank)
        for rank, name in enumerate(ordered):
            identity = self._identities[name]._replace(rank=rank, world_size=len(ordered))
            if identity != self._identities[name]:
                self._identities[name] = identity
                self.actors[name].identify.remote(identity)

    def versions(self) -> set[str]:
        """Those that some replica still runs."""
        return {identity.code_version for identity in self._identities.values()}

    async def loads(self, names: Iterable[str], timeout_s: float) -> dict[str, Load]:
        """The load of each; one that does not answer in time is left out: it may be dying."""
        asked = {name: self.actors[name].load.remote() for name in names if name in self.actors}
        waits = (asyncio.wait_for(answer, timeout_s) for answer in asked.values())
        done = await asyncio.gather(*waits, return_exceptions=True)
        return {n: v for n, v in zip(asked, done, strict=True) if isinstance(v, Load)}

    async def _live(self, name: str, spec: DeploymentSpec, http: HTTPOptions | None) -> None:
        """A replica's whole life: place it, run its constructor, wait for its death."""
        error, group = "the replica ended", None
        try:
            if spec.config.placement_group_bundles:
                group = _group_of(spec.config)
            actor = self._create(name, spec, http, group)
            self.actors[name] = actor
            await self._place(name, spec.config, actor)
            await self._share(spec, actor)
            up = await actor.start.remote(spec.payload, self._routes())
            if up.address and up.where == whereabouts():
                self.addresses[name] = up.address
                await actor.set_routes.remote(self._routes())
            self._feed(ReplicaUp(name))
            ends = [actor.until_gone.remote(), _until_ill(name, spec.config, actor)]
            until_end = [asyncio.ensure_future(end) for end in ends]
            beside = [asyncio.ensure_future(self._watch_notes(name, actor))] if up.has_notes else []
            try:
                done, _ = await asyncio.wait(until_end, return_when=asyncio.FIRST_COMPLETED)
                error = next(task.result() for task in done)
            finally:
                for task in (*until_end, *beside):
                    task.cancel()
                await asyncio.gather(*until_end, *beside, return_exceptions=True)
        except RayError as failure:
            error = str(failure)
        except Exception as failure:  # noqa: BLE001 - options that Core refuses; told by run()
            error = f"{type(failure).__name__}: {failure}"
        for known in (self.addresses, self.notes, self._identities, self.began, self.pids):
            known.pop(name, None)
        dead = self.actors.pop(name, None)
        if dead is not None:
            ray.kill(dead)
        if group is not None:
            remove_placement_group(group)
        logger.debug("replica %s: %s", name, error)
        self._feed(ReplicaLost(name, error))

    def _create(self, name: str, spec: DeploymentSpec, http: HTTPOptions | None, group: Any) -> Any:
        options: dict[str, Any] = {"num_cpus": 1, **spec.config.ray_actor_options}
        if group is not None:
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(
                group, 0, placement_group_capture_child_tasks=True
            )
        # Lists, logs and `why` call an actor by its class: which deployment's it is must be in that.
        titled = type(f"ServeReplica:{self._app_name}:{spec.name}", (Replica,), {})
        return (
            ray.remote(titled)
            .options(max_concurrency=100_000, **options)
            .remote(
                self._app_name, spec.name, self._identities[name], spec.config, http, self._tracing
            )
        )

    async def _place(self, name: str, config: DeploymentConfig, actor: Any) -> None:
        """Wait for the replica's process; say so when there is no room for it."""
        placed = asyncio.ensure_future(actor.placed.remote())
        times_short = 0
        while not placed.done():
            await asyncio.wait([placed], timeout=_ROOM_PATIENCE_S)
            missing = "" if placed.done() else lacking(config)
            if not missing:
                continue
            self._feed(Starved(name, missing))
            times_short += 1
            # In an update it waits for one that ends: no news, as long as that is soon.
            if times_short == _TIMES_UNTIL_TOLD:
                logger.warning("replica %s waits for room: %s.", name, missing)
        self.pids[name] = await placed

    async def _share(self, spec: DeploymentSpec, actor: Any) -> None:
        """Wait for the actors that the replicas share; or for the replica's death meanwhile."""
        if not spec.actors:
            return
        gone = asyncio.ensure_future(actor.until_gone.remote())
        made = asyncio.ensure_future(self._shared.until_made(spec.code_version, spec.actors))
        done, waiting = await asyncio.wait([gone, made], return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        for error in [each.exception() for each in done]:
            if error is not None:
                raise error

    async def _drain(self, name: str, actor: Any, released: asyncio.Future[Any]) -> None:
        with contextlib.suppress(RayError):  # if it dies, its own task hears of that
            await released
            await actor.drain.remote()
            self._feed(Drained(name))

    async def _reconfigure(self, name: str, config: DeploymentConfig) -> None:
        try:
            await self.actors[name].reconfigure.remote(config)
        except RayError as error:
            logger.warning("replica %s could not be reconfigured, and ends: %s", name, error)
            self.stop(name)

    async def _watch_notes(self, name: str, actor: Any) -> None:
        """Tell callers which models the replica has, and its statistics, whenever they change."""
        known = None
        with contextlib.suppress(RayError):  # if it dies, its own task hears of that
            while True:
                known = self.notes[name] = await actor.notes.remote(known)
                self._on_notes()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _until_ill(name: str, config: DeploymentConfig, actor: Any) -> str:
    """Wait until several checks in a row have failed or got no answer; returns what they found.

    Raises:
        RayActorError: When the replica is dead.
    """
    failures = 0
    while True:
        await asyncio.sleep(config.health_check_period_s)
        try:
            await asyncio.wait_for(actor.check_health.remote(), config.health_check_timeout_s)
            failures = 0
            continue
        except TimeoutError:
            found = f"no answer within health_check_timeout_s={config.health_check_timeout_s}"
        except RayError as error:
            if isinstance(error, RayActorError) and not isinstance(error, RayTaskError):
                raise  # nobody is there to be checked; a user's check may raise such an error
            found = str(error)
        failures += 1
        logger.warning("health check of replica %s failed: %s", name, found)
        if failures == _FAILED_CHECKS_ALLOWED:
            return f"{failures} health checks in a row have failed: {found}"


def _group_of(config: DeploymentConfig) -> Any:
    """The placement group of one replica."""
    selector = config.placement_group_bundle_label_selector
    return placement_group(
        [dict(bundle) for bundle in config.placement_group_bundles or ()],
        strategy=config.placement_group_strategy or "PACK",
        bundle_label_selector=None if selector is None else [dict(each) for each in selector],
    )
