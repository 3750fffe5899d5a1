"""DeploymentActors: actors that all replicas of a deployment share, kept alive as long as they run.

Users name them in `deployment_actors=`. They are made by a task, so that no user code is loaded in
the controller's process; a version of a deployment has its own, which end with its last replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import heliostat as ray
from heliostat.exceptions import RayError
from heliostat.serve._by_path import found_at
from heliostat.serve._specs import ActorSpec
from heliostat.serve.autoscaling import DeploymentID
from heliostat.serve.config import DeploymentActorConfig
from heliostat.serve.context import get_replica_context
from heliostat.serve.exceptions import RayServeException

logger = logging.getLogger("heliostat.serve")

NAMESPACE = "serve"
_PREFIX = "SERVE_DEPLOYMENT_ACTOR::"  # of their full names; JSON follows


@dataclass(frozen=True)
class DeploymentActorContext:
    """Where code of an actor in `deployment_actors=` runs.

    Args:
        deployment_id: Whose actor it is.
        actor_name: Its name in the deployment.
        code_version: The deployment's, as `get_replica_context()` has it.
    """

    deployment_id: DeploymentID
    actor_name: str
    code_version: str = ""

    @property
    def app_name(self) -> str:
        """The application."""
        return self.deployment_id.app_name

    @property
    def deployment(self) -> str:
        """The deployment in it."""
        return self.deployment_id.name


class DeploymentActors:
    """Those of one deployment.

    Args:
        app_name: The application.
        deployment: The deployment in it.
        period_s: How often each is asked whether it lives.
    """

    def __init__(self, app_name: str, deployment: str, period_s: float) -> None:
        self._names = app_name, deployment
        self._period_s = period_s
        self._versions: dict[str, asyncio.Task[None]] = {}  # the making of each version's
        self._watches: dict[str, list[asyncio.Task[None]]] = {}
        self._full_names: dict[str, list[str]] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}

    async def until_made(self, version: str, specs: Sequence[ActorSpec]) -> None:
        """Wait until this version has its actors; makes them the first time.

        Raises:
            RayError: When a constructor raises; the next who wait try again.
        """
        if not specs:
            return
        making = self._versions.get(version)
        if making is None or (making.done() and making.exception() is not None):
            making = asyncio.get_running_loop().create_task(self._make(version, specs))
            self._versions[version] = making
        await asyncio.shield(making)

    def keep(self, versions: Iterable[str]) -> None:
        """End those of all other versions."""
        for version in set(self._versions) - set(versions):
            making = self._versions.pop(version)
            ending = self._end(version, making, self._endings.get(version))
            self._endings[version] = asyncio.get_running_loop().create_task(ending)

    async def until_ended(self) -> None:
        """Wait until those are gone that nobody needs."""
        while self._endings:
            await asyncio.wait(self._endings.values())

    async def _end(
        self, version: str, making: asyncio.Task[None], earlier: asyncio.Task[None] | None
    ) -> None:
        if earlier is not None:
            await earlier
        making.cancel()
        await asyncio.wait([making])  # what is half made would come to life afterwards
        if not making.cancelled():
            making.exception()  # it was told to those who waited for it
        watches = self._watches.pop(version, ())
        for watch in watches:
            watch.cancel()
        if watches:
            await asyncio.wait(watches)
        for name in self._full_names.pop(version, ()):
            with contextlib.suppress(ValueError, RayError):  # it is gone, or was never there
                ray.kill(ray.get_actor(name, namespace=NAMESPACE))
        if self._endings.get(version) is asyncio.current_task():
            del self._endings[version]

    async def _make(self, version: str, specs: Sequence[ActorSpec]) -> None:
        ending = self._endings.get(version)
        if ending is not None:  # of the same names
            await asyncio.wait([ending])
        names = [_full_name(*self._names, version, spec.name) for spec in specs]
        self._full_names[version] = names
        for spec, name in zip(specs, names, strict=True):
            await _make_one(spec, name)
        self._watches[version] = [
            asyncio.create_task(self._watch(spec, name))
            for spec, name in zip(specs, names, strict=True)
        ]

    async def _watch(self, spec: ActorSpec, name: str) -> None:
        """Make it again when it has died."""
        while True:
            await asyncio.sleep(self._period_s)
            try:
                await ray.get_actor(name, namespace=NAMESPACE).__ray_ready__.remote()
            except (ValueError, RayError) as error:
                logger.warning("deployment actor %s died, and is made again: %s", spec.name, error)
                with contextlib.suppress(RayError):  # the next round tries again
                    await _make_one(spec, name)


async def _make_one(spec: ActorSpec, name: str) -> None:
    """Make an actor by a task, which ends with this coroutine."""
    made = _make_actor.options(runtime_env=spec.runtime_env).remote(spec.payload, name)
    try:
        await made
    except asyncio.CancelledError:
        ray.cancel(made, force=True)
        with contextlib.suppress(RayError):
            await made
        raise


@ray.remote(num_cpus=0, max_retries=0)
def _make_actor(payload: list[ray.ObjectRef[Any]], name: str) -> None:
    """Make an actor, and wait for its constructor."""
    config: DeploymentActorConfig = ray.get(payload[0])
    actor_class: Any = config.actor_class
    if isinstance(actor_class, str):
        actor_class = found_at(actor_class, "actor_class")
    if isinstance(actor_class, type):
        actor_class = ray.remote(actor_class)
    options = {"lifetime": "detached", **config.actor_options}
    options.update(name=name, namespace=NAMESPACE, get_if_exists=True)
    actor = actor_class.options(**options).remote(*config.init_args, **config.init_kwargs)
    ray.get(actor.__ray_ready__.remote())


def get_deployment_actor(actor_name: str) -> Any:
    """An actor that the replicas of a deployment share (`deployment_actors=`).

    Args:
        actor_name: Its name in the deployment.

    Returns:
        The actor's handle. If the actor dies, another is made in its place; ask for its handle again.

    Raises:
        RayServeException: Outside a replica.
        ValueError: When there is none of this name, or not yet again.

    Example:
        >>> import heliostat as ray
        >>> from heliostat import serve
        >>> from heliostat.serve.config import DeploymentActorConfig
        >>> @ray.remote(num_cpus=0)
        ... class Tally:
        ...     def __init__(self): self.total = 0
        ...     def add(self, x):
        ...         self.total += x
        ...         return self.total
        >>> @serve.deployment(deployment_actors=[DeploymentActorConfig("tally", Tally)])
        ... class Adder:
        ...     def __init__(self): self.tally = serve.get_deployment_actor("tally")
        ...     async def add(self, x): return await self.tally.add.remote(x)
        >>> handle = serve.run(Adder.bind(), route_prefix=None)
        >>> [handle.add.remote(x).result() for x in (1, 2)]
        [1, 3]
        >>> serve.shutdown()
    """
    try:
        replica = get_replica_context()
    except RuntimeError:
        raise RayServeException(
            "get_deployment_actor() works only in a deployment's code, inside a replica"
        ) from None
    name = _full_name(replica.app_name, replica.deployment, replica.code_version, actor_name)
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        raise ValueError(
            f"deployment {replica.deployment!r} has no actor {actor_name!r} now; it has those that "
            "are in deployment_actors=, and one that died is made again after a moment"
        ) from None


def get_deployment_actor_context() -> DeploymentActorContext:
    """Which deployment the actor belongs to that this code runs in.

    Raises:
        RayServeException: Outside an actor of a deployment.

    Example:
        >>> from heliostat import serve
        >>> serve.get_deployment_actor_context()
        Traceback (most recent call last):
        ...
        heliostat.serve.exceptions.RayServeException: get_deployment_actor_context() works only in ...
    """
    name = _own_name()
    if not name.startswith(_PREFIX):
        raise RayServeException(
            "get_deployment_actor_context() works only in an actor of deployment_actors="
        )
    app, deployment, version, own = json.loads(name.removeprefix(_PREFIX))
    return DeploymentActorContext(DeploymentID(deployment, app), own, version)


def _full_name(app: str, deployment: str, version: str, name: str) -> str:
    return _PREFIX + json.dumps([app, deployment, version, name])


def _own_name() -> str:
    """The name of the actor that this code runs in; empty when it has none, or is in no actor."""
    if not ray.is_initialized():
        return ""
    return ray.get_runtime_context().get_actor_name() or ""
