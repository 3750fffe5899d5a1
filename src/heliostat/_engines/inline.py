"""InlineEngine: everything now, in the calling thread, in order.

For debugging (breakpoints, real tracebacks) and for unit tests. Tasks run while they are
submitted, actors are plain objects, values are not copied. Knows no process and no socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from heliostat._core.actors import ActorExit, find_method, shut_down
from heliostat._core.engine import ClusterState, Running, qualified
from heliostat._core.ids import ActorID, NodeID, ObjectID, fresh, nth
from heliostat._core.options import (
    NODE_ID,
    THIS_NODE,
    UNIT,
    ActorOptions,
    InitOptions,
    MethodOptions,
    Place,
    TaskOptions,
)
from heliostat._core.outcomes import raisable, retries, spread, task_error
from heliostat._core.refs import ObjectRef
from heliostat._core.resources import Supply, missing, remedy
from heliostat._core.specs import ActorInfo, ActorSpec, CallSpec, TaskSpec
from heliostat._core.tally import Change, Totals
from heliostat._engines.inline_groups import Grant, InlineGroups
from heliostat._engines.inline_streams import END, Failure, InlineStreams
from heliostat._gpus import VISIBLE, gpu_count, ids
from heliostat.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnschedulableError,
    GetTimeoutError,
    ObjectLostError,
    RayError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
)

if TYPE_CHECKING:
    from heliostat._core.groups import GroupSpec
    from heliostat._core.runtime_env import RuntimeEnv
    from heliostat._parts import Part

_NOTHING = Running(None, "", None, "", (), (), False)


class _Actor:
    __slots__ = ("dead", "info", "instance", "name", "options", "place", "restarts", "spec")

    def __init__(self, spec: ActorSpec, info: ActorInfo, place: Place | None) -> None:
        self.spec = spec
        self.info = info
        self.options: ActorOptions = spec.options
        self.instance: Any = None
        self.restarts = 0
        self.dead: BaseException | None = None
        self.place = place


class InlineEngine:
    """Runs everything in the thread that asks for it."""

    def __init__(self, options: InitOptions) -> None:
        cpus = options.num_cpus if options.num_cpus is not None else os.cpu_count() or 1
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._total = {
            "CPU": cpus * UNIT,
            "memory": memory * UNIT,
            "object_store_memory": (options.object_store_memory or memory) * UNIT,
            **THIS_NODE,
            **dict(options.resources),
        }
        self._visible_gpus = os.environ.get(VISIBLE)
        wanted = options.num_gpus
        if gpus := gpu_count(self._visible_gpus) if wanted is None else wanted:
            self._total["GPU"] = gpus * UNIT
        self._supply = Supply(self._total)
        self._namespace = options.namespace
        self._node = NodeID(fresh())
        self._labels = {**dict(options.labels), NODE_ID: self._node.hex()}
        self._values: dict[bytes, Any] = {}
        self._groups = InlineGroups(self._supply, self._values.__setitem__)
        self._streams = InlineStreams(self._values)
        self._actors: dict[bytes, _Actor] = {}
        self._names: dict[tuple[str, str], _Actor] = {}
        self._running = _NOTHING
        self._ended: deque[dict[str, Any]] = deque(maxlen=10_000)
        self._env: RuntimeEnv | None = None  # of what runs
        self._home = _possible(options.runtime_env)
        self._envs: dict[str, dict[str, Any]] = {}  # rows of those that something ran in
        self._totals = Totals()

    def submit(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        """Run the task before returning."""
        options = spec.options
        place = self._place(options, f"task {spec.code.name}", TaskUnschedulableError)
        name = options.name or spec.code.name
        gpus, error = self._groups.take(name, options.resources, place)
        if error is not None:
            return self._store(name, Failure(error), options)
        gpu_ids = ids(self._visible_gpus, gpus)
        function = qualified(spec.code.value)
        running = Running(
            fresh(), name, None, "", gpu_ids, options.resources, False, place, function
        )  # fmt: skip
        with self._in_environment(options.runtime_env):
            return self._call(spec.code.value, spec.args, spec.kwargs, options, running, None)

    @contextlib.contextmanager
    def _in_environment(self, asked: RuntimeEnv | None) -> Iterator[None]:
        """Have the variables of an environment until the end of the block."""
        outer = self._env if self._env is not None else self._home
        if asked is None and (outer is None or outer is self._env):
            yield
            return
        from heliostat._core import runtime_env  # noqa: PLC0415 - most programs have none

        _possible(asked)
        inner = runtime_env.merged(outer or {}, asked or {})
        found, before = runtime_env.variables(inner, os.environ), self._env
        replaced = {name: os.environ.get(name) for name in found}
        os.environ.update(found)
        self._env = inner
        self._envs.setdefault(repr(inner), runtime_env.row(inner, self._node.hex()))
        try:
            yield
        finally:
            self._env = before
            for name, text in replaced.items():
                if text is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = text

    def environment(self) -> str:
        """The `runtime_env` of what runs, as JSON."""
        env = self._env if self._env is not None else self._home
        if not env:
            return "{}"
        from heliostat._core.runtime_env import describe  # noqa: PLC0415 - seldom asked for

        return describe(env)[0]

    def create_actor(self, spec: ActorSpec) -> tuple[ActorInfo, ObjectRef[Any]]:
        """Run the constructor before returning."""
        options = spec.options
        place = self._place(options, f"actor {spec.code.name}", ActorUnschedulableError)
        key = (options.namespace or self._namespace, options.name)
        if options.name and key in self._names:
            if options.get_if_exists:
                return self.find_actor(options.name, options.namespace)
            raise ActorAlreadyExistsError(
                f"an actor named {options.name!r} exists already in namespace {key[0]!r}; use "
                "get_if_exists=True to get it, or another name"
            )
        info = ActorInfo(ActorID(fresh()), spec.code.name, *spec.about())
        actor = _Actor(spec, info, place)
        self._actors[info.actor] = actor
        if options.name:
            self._names[key] = actor
        self._construct(actor)
        return info, ObjectRef(info.actor)

    def _construct(self, actor: _Actor) -> None:
        spec, grant = actor.spec, self._actors_grant(actor)
        running = self._within(actor, spec.code.name, "__init__", grant.gpus)
        outcome: Any = Failure(grant.error) if grant.error is not None else None
        if outcome is None:
            name = f"{spec.code.name}.__init__"
            with self._in_environment(actor.options.runtime_env):
                outcome = self._run(spec.code.value, name, spec.args, spec.kwargs, running)
        if isinstance(outcome, Failure):
            actor.dead = _constructor_error(actor, outcome.error)
            self._values[actor.info.actor] = Failure(actor.dead)
            self._forget_name(actor)
        else:
            actor.instance = outcome
            self._values[actor.info.actor] = None

    def _actors_grant(self, actor: _Actor) -> Grant:
        name, shape = f"actor {actor.info.class_name}", actor.options.resources
        return self._groups.take(name, shape, actor.place)

    def _within(self, actor: _Actor, name: str, method: str, gpus: tuple[int, ...]) -> Running:
        """What a constructor or call of the actor sees of itself."""
        options, class_ = actor.options, qualified(actor.spec.code.value)
        return Running(
            fresh(), name, actor.info.actor, options.name, ids(self._visible_gpus, gpus),
            options.resources, actor.restarts > 0, actor.place, f"{class_}.{method}",
        )  # fmt: skip

    def call_actor(self, spec: CallSpec) -> list[ObjectRef[Any]]:
        """Run the method before returning."""
        actor = self._actors.get(spec.actor)
        if actor is None:
            gone = ActorDiedError("the actor belongs to a session that has ended", spec.actor.hex())
            return self._store(spec.method, Failure(gone), spec.options)
        name = spec.options.name or f"{actor.info.class_name}.{spec.method}"
        if actor.dead is not None:
            return self._store(name, Failure(actor.dead), spec.options)
        bound = find_method(actor.instance, spec.method)
        running = self._within(actor, name, spec.method, self._actors_grant(actor).gpus)
        with self._in_environment(actor.options.runtime_env):
            return self._call(bound, spec.args, spec.kwargs, spec.options, running, actor)

    def _call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: TaskOptions | MethodOptions,
        running: Running,
        actor: _Actor | None,
    ) -> list[ObjectRef[Any]]:
        name, start = running.task_name, time.time()
        limit = _retry_limit(options, actor)
        tries = 1 + limit if limit >= 0 else -1  # below zero it never reaches zero
        while True:
            outcome = self._run(function, name, args, kwargs, running)
            tries -= 1
            if not isinstance(outcome, Failure) or tries == 0:
                break
            if not retries(outcome.error, options.retry_exceptions):
                break
        self._ended.append(self._task_row(running, start, isinstance(outcome, Failure)))
        if actor is not None and isinstance(outcome, Failure):
            outcome = self._perhaps_exit(actor, outcome, running)
        return self._store(name, outcome, options, running)

    def _task_row(self, running: Running, start: float, failed: bool) -> dict[str, Any]:
        return {
            "task_id": (running.task or b"").hex(),
            "name": running.task_name,
            "state": "FAILED" if failed else "FINISHED",
            "type": "ACTOR_TASK" if running.actor else "NORMAL_TASK",
            "func_or_class_name": running.task_name,
            "actor_id": running.actor.hex() if running.actor else None,
            "parent_task_id": (self._running.task or b"").hex(),
            "node_id": self._node.hex(),
            "worker_id": None,
            "worker_pid": os.getpid(),
            "error_type": "TASK_EXECUTION_EXCEPTION" if failed else None,
            "creation_time_ms": start * 1000,
            "start_time_ms": start * 1000,
            "end_time_ms": time.time() * 1000,
        }

    def _run(
        self,
        function: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        running: Running,
    ) -> Any:
        """Call it; a failure comes back as a value."""
        outer, self._running = self._running, running
        try:
            positional = [self._resolved(arg) for arg in args]
            named = {key: self._resolved(arg) for key, arg in kwargs.items()}
        except BaseException as error:  # noqa: BLE001 - the error of an argument is the result
            self._running = outer
            return Failure(error)
        try:
            outcome = function(*positional, **named)
            outcome = _awaited(outcome)
        except (KeyboardInterrupt, ActorExit) as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return Failure(error)
        except BaseException as error:  # noqa: BLE001 - user code: whatever it raises is its result
            return Failure(task_error(name, error))
        finally:
            self._running = outer
        return outcome

    def _store(
        self,
        name: str,
        outcome: Any,
        options: TaskOptions | MethodOptions,
        running: Running = _NOTHING,
    ) -> list[ObjectRef[Any]]:
        first = running.task or fresh()
        if isinstance(options.num_returns, str):
            within = functools.partial(self._as, running, self._env)
            self._streams.start(first, name, outcome, options.backpressure, within)
            return [ObjectRef(first)]
        ids = [nth(first, index) for index in range(options.num_returns)]
        values: Sequence[Any] = [outcome] * len(ids)
        if not isinstance(outcome, Failure):
            try:
                values = spread(outcome, options.num_returns)
            except (TypeError, ValueError) as error:
                values = [Failure(task_error(name, error))] * len(ids)
        self._values.update(zip(ids, values, strict=True))
        return [ObjectRef(id_) for id_ in ids]

    @contextlib.contextmanager
    def _as(self, running: Running, env: RuntimeEnv | None) -> Iterator[None]:
        """Be what runs, in its environment, until the end of the block."""
        outer, self._running = self._running, running
        try:
            with self._in_environment(env):
                yield
        finally:
            self._running = outer

    def find_actor(self, name: str, namespace: str | None) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The live actor of that name."""
        actor = self._names.get((namespace or self._namespace, name))
        if actor is None:
            raise ValueError(
                f"no actor is named {name!r} in namespace {namespace or self._namespace!r}; "
                f"there are: {sorted(key[1] for key in self._names)}"
            )
        return actor.info, ObjectRef(actor.info.actor)

    def records(self, kind: str, part: Part | None = None) -> list[dict[str, Any]]:
        """Actors and values; tasks have ended before somebody can ask, and there are no workers."""
        if kind == "actors":
            return [self._actor_row(actor) for actor in self._actors.values()]
        if kind == "tasks":
            return list(self._ended)
        if kind in ("ended_tasks", "ended_counts"):
            from heliostat._parts import counted, ended_rows  # noqa: PLC0415 - seldom asked for

            if kind == "ended_tasks":
                return ended_rows(self._ended, part)
            self._ended, counts = counted(self._ended, itemgetter("name", "state"), part)
            return [{"name": name, "state": s, "count": n} for (name, s), n in counts.items()]
        if kind == "placement_groups":
            return self._groups.rows(self._node.hex(), self._namespace)
        if kind == "metrics":
            return self._totals.rows()
        if kind == "runtime_envs":
            return list(self._envs.values())
        return []  # no process that could die

    def create_group(self, spec: GroupSpec) -> None:
        """Set its resources aside now, if no other group has them."""
        from heliostat._core import scheduling  # noqa: PLC0415 - few programs have groups

        lacks = scheduling.infeasible(spec, self._total, self._labels)
        if lacks:
            raise ValueError(f"the placement group asks for {lacks}")
        self._groups.create(spec)

    def remove_group(self, group: bytes) -> None:
        """Give its resources back; the actors in it die."""
        for actor in list(self._actors.values()):
            if actor.place is not None and actor.place[0] == group and actor.dead is None:
                self._end(actor, "its placement group was removed")
        self._groups.remove(group, Failure)

    def _actor_row(self, actor: _Actor) -> dict[str, Any]:
        return {
            "actor_id": actor.info.actor.hex(),
            "class_name": actor.info.class_name,
            "state": "ALIVE" if actor.dead is None else "DEAD",
            "name": actor.options.name,
            "ray_namespace": actor.options.namespace or self._namespace,
            "node_id": self._node.hex(),
            "pid": os.getpid(),
            "is_detached": actor.options.detached,
            "required_resources": {name: n / UNIT for name, n in actor.options.resources},
            "num_restarts": actor.restarts,
            "num_pending_calls": 0,
            "death_cause": str(actor.dead) if actor.dead is not None else None,
            "reason": "",
        }

    def named_actors(self, *, all_namespaces: bool) -> list[tuple[str, str]]:
        """Namespaces and names of the living."""
        return [key for key in self._names if all_namespaces or key[0] == self._namespace]

    def cancelled(self) -> bool:
        """Nothing runs while somebody could cancel it."""
        return False

    def get_actor(self, actor: ActorID) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The actor of that identifier."""
        info = self._actors[actor].info
        return info, ObjectRef(info.actor)

    def kill_actor(self, actor: ActorID, *, restart: bool) -> None:
        """Drop the instance; make a new one if it may restart."""
        entry = self._actors[actor]
        limit = entry.options.max_restarts
        if restart and (limit < 0 or entry.restarts < limit):
            entry.restarts += 1
            self._construct(entry)
            return
        self._end(entry, "it was killed by ray.kill()")

    def _end(self, actor: _Actor, why: str) -> None:
        actor.instance = None
        actor.dead = ActorDiedError(
            f"actor {actor.info.class_name} is dead: {why}", actor.info.actor.hex()
        )
        self._forget_name(actor)

    def _forget_name(self, actor: _Actor) -> None:
        self._names.pop((actor.options.namespace or self._namespace, actor.options.name), None)

    def _perhaps_exit(self, actor: _Actor, outcome: Failure, running: Running) -> Failure:
        if not isinstance(outcome.error, ActorExit):
            return outcome
        outcome.error.__traceback__ = None  # it refers to the instance
        self._run(shut_down, running.task_name, (actor.instance, _awaited), {}, running)
        self._end(actor, "it called exit_actor()")
        assert actor.dead is not None
        return Failure(actor.dead)

    def put(self, value: object) -> ObjectRef[Any]:
        """Keep the very object."""
        ref: ObjectRef[Any] = ObjectRef(fresh())
        self._values[ref.binary()] = value
        return ref

    def put_error(self, error: RayError) -> ObjectRef[Any]:
        """Keep an error."""
        return self.put(Failure(error))

    def get(self, refs: Sequence[ObjectRef[Any]], *, timeout_s: float | None) -> list[Any]:
        """The values; they are all there, but for groups that wait for others."""
        if timeout_s is not None and any(self._groups.pending(ref.binary()) for ref in refs):
            raise GetTimeoutError(f"get() waited {timeout_s} s, and a placement group is not ready")
        return [self._resolved(ref) for ref in refs]

    def _resolved(self, value: Any) -> Any:
        if not isinstance(value, ObjectRef):
            return value
        self._streams.finish(value.binary())
        try:
            found = self._values[value.binary()]
        except KeyError:
            if self._groups.pending(value.binary()):
                raise self._groups.waits_for_ever(value.binary(), "get()") from None
            raise ObjectLostError(
                f"{value!r} belongs to a session that has ended", value.hex()
            ) from None
        if isinstance(found, Failure):
            raise raisable(found.error)
        return found

    def wait(self, ids: Sequence[bytes], *, count: int, timeout_s: float | None) -> list[int]:
        """Everything is ready, but for groups that wait for others and streams for their takers."""
        pending, running = self._groups.pending, self._streams.running
        done = [n for n, id_ in enumerate(ids) if not (pending(id_) or running(id_))]
        return done[:count]

    def on_ready(self, ref: ObjectRef[Any], callback: Callable[[], None]) -> None:
        """It is ready now, unless it is a group that waits for others."""
        if self._groups.pending(ref.binary()):
            self._groups.when_ready(ref.binary(), callback)
        else:
            self._streams.finish(ref.binary())
            callback()

    def next_item(
        self, stream: ObjectRef[Any], index: int, *, timeout_s: float | None
    ) -> ObjectRef[Any] | None:
        """Item `index`, or None past the end."""
        self._streams.want(stream.binary(), index)
        id_ = nth(stream.binary(), index + 1)
        if id_ not in self._values:
            raise GetTimeoutError(f"item {index} of {stream!r} will not come")
        return None if self._values[id_] is END else ObjectRef(id_)

    def on_item(self, stream: ObjectRef[Any], index: int, callback: Callable[[], None]) -> None:
        """It is there, or is made when it is taken."""
        callback()

    def cancel(self, ref: ObjectRef[Any], *, force: bool, recursive: bool) -> None:
        """Close a stream that waits for its taker; all else has ended before somebody can ask."""
        self._streams.cancel(ref.binary())

    def adopt(self, id_: ObjectID) -> ObjectRef[Any]:
        """A reference to a kept value."""
        return ObjectRef(id_)

    def pin(self, id_: ObjectID) -> None:
        """Values live until the session ends anyway."""

    def running(self) -> Running:
        """What runs now."""
        return self._running

    def function_name(self) -> Any:
        """The function that runs now."""
        return self._running.function

    def describe(self) -> ClusterState:
        """The resources asked for."""
        node, total = self._node.hex(), _whole(self._total)
        return ClusterState(total, node, self._namespace, self._labels, node)

    def free(self) -> dict[str, float]:
        """All but what is in placement groups, since nothing runs meanwhile."""
        return _whole(self._supply.free)

    def reset(self) -> None:
        """Forget everything."""
        self.close()
        self._ended.clear()

    def preload(self, modules: Sequence[str]) -> None:
        """What runs here finds what is imported here."""

    def tally(self, changes: tuple[Change, ...]) -> None:
        """Add to the session's metrics."""
        self._totals.add(0, changes)

    def close(self) -> None:
        """Forget everything."""
        self._streams.close()
        self._values.clear()
        self._actors.clear()
        self._names.clear()
        self._groups.clear()

    def _place(
        self, options: TaskOptions | ActorOptions, who: str, error: type[Exception]
    ) -> Place | None:
        """The bundle to run in, if any; raises if this machine can never run it."""
        lacks = missing(self._total, options.resources)
        if lacks:
            have = _whole(self._total)
            raise error(
                f"{who} asks for more than there is: {lacks}. The session has {have}. Ask for less, or "
                f"{remedy(self._total, options.resources)}"
            )
        if options.scheduling is None and self._running.place is None:
            return None
        from heliostat._core import scheduling  # noqa: PLC0415 - few programs say where to run

        lacks = scheduling.misfit(options.scheduling, self._node.hex(), self._labels)
        if lacks:
            raise error(f"{who} asks for {lacks}")
        return scheduling.place_of(options.scheduling, options.resources, who, self._running.place)


def _possible(env: RuntimeEnv | None) -> RuntimeEnv | None:
    """The environment, if it asks for nothing that needs another process."""
    for key in env or ():
        if key not in ("env_vars", "config"):
            raise NotImplementedError(
                f"runtime_env[{key!r}] needs worker processes, and the inline engine has none; use "
                'init(engine="local"), or leave it out here'
            )
    return env


def _whole(resources: Mapping[str, int]) -> dict[str, float]:
    return {name: units / UNIT for name, units in resources.items()}


def _constructor_error(actor: _Actor, error: BaseException) -> RayError:
    if isinstance(error, TaskPlacementGroupRemoved):
        return ActorPlacementGroupRemoved(f"actor {actor.info.class_name} was not made: {error}")
    dead = ActorDiedError(
        f"actor {actor.info.class_name} died in its constructor:\n{error}", actor.info.actor.hex()
    )
    dead.__cause__ = error
    return dead


def _retry_limit(options: TaskOptions | MethodOptions, actor: _Actor | None) -> int:
    """How often it may be repeated; below zero: without end."""
    if isinstance(options, TaskOptions):
        return options.max_retries
    if options.max_task_retries is not None or actor is None:
        return options.max_task_retries or 0
    return actor.options.max_task_retries


def _awaited(outcome: Any) -> Any:
    if not inspect.iscoroutine(outcome):
        return outcome
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(outcome)
    finally:
        loop.close()
