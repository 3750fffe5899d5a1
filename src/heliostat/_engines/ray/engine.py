"""RayEngine: the engine protocol on Ray Core. The same class serves the driver and Ray's workers."""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from heliostat._core import codec
from heliostat._core.actors import is_async
from heliostat._core.codec import pack
from heliostat._core.engine import ClusterState, Running
from heliostat._core.ids import ActorID, JobID, ObjectID, fresh, nth
from heliostat._core.options import (
    UNIT,
    ActorOptions,
    InitOptions,
    MethodOptions,
    Place,
    TaskOptions,
)
from heliostat._core.refs import ObjectRef
from heliostat._core.specs import ActorInfo, ActorSpec, CallSpec, Code, TaskSpec
from heliostat._core.tally import Change
from heliostat._engines.ray import connect, environment, groups, host, kept, records, theirs
from heliostat._engines.ray.failures import Again, died_in_constructor, expect_made_by_us, ours
from heliostat._engines.ray.host import Call, Home
from heliostat._engines.ray.values import (
    ERROR,
    ActorHold,
    GoneHold,
    Hold,
    Holds,
    StreamHold,
    ValueHold,
)
from heliostat.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnschedulableError,
    GetTimeoutError,
    ObjectLostError,
    RayError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    WorkerCrashedError,
)

if TYPE_CHECKING:
    from heliostat._core.groups import GroupSpec
    from heliostat._parts import Part

_NODES_FOR_S = 1.0  # how long what we know of the nodes is taken for true
_KV_PATIENCE_S = 5.0


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """Ray's errors as ours."""
    try:
        yield
    except theirs.ray().exceptions.RayError as error:
        known = ours(error)
        raise known from known.__cause__


class RayEngine:
    """A Ray cluster, as one process sees it."""

    def __init__(self, options: InitOptions, home: Home | None = None) -> None:
        self._options = options
        self._address, self._leave = "", connect.stay
        if home is None:
            home, self._address, self._leave = connect.join(options)
        self._home = home
        self._ray = theirs.ray()
        client, common = theirs.module("util.client"), theirs.module("util.client.common")
        self._is_client = client.ray.is_connected()
        handles = theirs.module("actor").ActorHandle, common.ClientActorHandle
        self.holds = Holds(lambda thing: isinstance(thing, handles))
        self._functions: weakref.WeakKeyDictionary[Code, Any] = weakref.WeakKeyDictionary()
        self._pinned: dict[bytes, Hold] = {}
        self._environments: dict[str, dict[str, Any]] = {}
        self._nodes: tuple[groups.Node, ...] = ()
        self._nodes_at = -_NODES_FOR_S
        self._roomy: set[tuple[tuple[str, int], ...]] = set()
        context = self._ray.get_runtime_context()
        self._namespace: str = context.namespace
        self._node = groups.short(context.get_node_id())
        # As long as our identifiers.
        self._job = str(context.get_job_id()).ljust(2 * JobID.size(), "0")
        self._groups = groups.Groups(self._namespace)
        self._taking = threading.Lock()

    # Work

    def submit(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        """Run a task some time."""
        code, options = spec.code, spec.options
        place = self._place(options, who := f"task {code.name}", TaskUnschedulableError)
        if gone := self._groups.error(place, who, TaskPlacementGroupRemoved):
            return self._all_gone(gone, options.num_returns)
        task, stream = fresh(), isinstance(options.num_returns, str)
        name = options.name or code.name
        call, needs = self._call(task, name, spec, options, options.resources, place)
        asked = {
            **groups.amounts(options.resources), **self._where(options, place),
            **self._environment(options), **groups.returns(options), "name": name,
            "max_retries": options.max_retries,
            "retry_exceptions": [Again] if options.retry_exceptions else False,
        }  # fmt: skip
        max_calls = options.max_calls
        if max_calls is None and "num_gpus" in asked:
            max_calls = 1  # Ray's default, too: memory of the GPU is free when the process ends
        remote = self._remote(code, max_calls, stream=stream)
        with _in_our_words():
            given = remote.options(**asked).remote(call, *needs)
        refs = self._results(task, given, options.num_returns)
        self._groups.took(place, [self.holds.find(ref._id) for ref in refs])
        return refs

    def _remote(self, code: Code, max_calls: int | None, *, stream: bool) -> Any:
        """Ray's remote function for a function of the user's; made once."""
        made = self._functions.setdefault(code, {})
        if (max_calls, stream) not in made:
            function = host.function(self._home, self._sent(code), stream=stream)
            remote = self._ray.remote
            made[max_calls, stream] = (
                remote(function) if max_calls is None else remote(max_calls=max_calls)(function)
            )
        return made[max_calls, stream]

    def _sent(self, code: Code) -> host.Code:
        return host.Code(code.key, code.name, codec.encode_code(code.value, code.name))

    def _call(
        self,
        task: bytes,
        name: str,
        spec: TaskSpec | ActorSpec | CallSpec,
        options: TaskOptions | MethodOptions,
        resources: tuple[tuple[str, int], ...] = (),
        place: Place | None = None,
        called: str = "",
    ) -> tuple[tuple[Any, ...], list[Any]]:
        """A call as it travels, and the references whose values Ray is to bring."""
        if self._is_client and isinstance(options.num_returns, str):
            raise NotImplementedError(
                f"{called or name} gives a stream, and Ray's client (ray://...) has none: run this "
                "program in the cluster, as a job (ray job submit) or on one of its machines"
            )
        encoded, slots, ids = pack(called or name, spec.args, spec.kwargs)
        needs = [self._hold(id_).waitable() for id_ in ids]
        call = Call(
            task, name, self.holds.packed(encoded), slots, options.num_returns,
            options.retry_exceptions, resources, place,
        )  # fmt: skip
        return tuple(call), needs

    def _results(self, task: bytes, given: Any, num_returns: int | str) -> list[ObjectRef[Any]]:
        if isinstance(num_returns, str):
            return [self.holds.add(task, StreamHold(given))]
        refs = [] if given is None else given if isinstance(given, list) else [given]
        return [self.holds.add(nth(task, at), ValueHold(ref)) for at, ref in enumerate(refs)]

    def _place(
        self, options: TaskOptions | ActorOptions, who: str, error: type[Exception]
    ) -> Place | None:
        """The bundle to run in, if any; raises if no machine of the cluster is where it may run."""
        shape, asked, around = options.resources, options.scheduling, host.RUNNING.get().place
        if asked is None and around is None and shape in self._roomy:
            return None
        lacks = groups.lacking(self._machines(), shape, asked)
        if lacks:
            lacks = groups.lacking(self._machines(anew=True), shape, asked)
        if lacks:
            raise error(f"{who} asks for {lacks}")
        self._roomy.add(shape)
        if asked is None and around is None:
            return None
        from heliostat._core import scheduling  # noqa: PLC0415 - few programs say where to run

        return scheduling.place_of(asked, shape, who, around)

    def _where(self, options: TaskOptions | ActorOptions, place: Place | None) -> dict[str, Any]:
        hold = self._groups.find(place[0]) if place else None
        return groups.where(options.scheduling, place, hold and hold.group, self._machines())

    def _environment(self, options: TaskOptions | ActorOptions) -> dict[str, Any]:
        if not (env := options.runtime_env):
            return {}
        key = repr(sorted(env.items(), key=str))
        if key not in self._environments:
            self._environments[key] = environment.of_a_task(env, self._home.modules)
        return {"runtime_env": self._environments[key]}

    def _machines(self, *, anew: bool = False) -> tuple[groups.Node, ...]:
        now = time.monotonic()
        if anew or now - self._nodes_at > _NODES_FOR_S:
            self._nodes, self._nodes_at = groups.alive(), now
        return self._nodes

    # Actors

    def create_actor(self, spec: ActorSpec) -> tuple[ActorInfo, ObjectRef[Any]]:
        """Make an actor."""
        code, options = spec.code, spec.options
        place = self._place(options, who := f"actor {code.name}", ActorUnschedulableError)
        about = spec.about()
        if gone := self._groups.error(place, who, ActorPlacementGroupRemoved):
            id_ = fresh()
            return ActorInfo(ActorID(id_), code.name, *about), self.holds.add(id_, self._gone(gone))
        here = host.Actor(code.name, options.name, about, options.resources, place)
        name = f"{code.name}.__init__"
        call, needs = self._call(fresh(), name, spec, MethodOptions(), called=code.name)
        asked = {
            **groups.amounts(options.resources), **self._where(options, place),
            **self._environment(options), **groups.of_an_actor(options),
        }  # fmt: skip
        class_ = self._class(code, options.concurrency_groups)
        try:
            with _in_our_words():
                handle = class_.options(**asked).remote(tuple(here), call, *needs)
        except ActorAlreadyExistsError as error:
            raise ActorAlreadyExistsError(
                f"an actor named {options.name!r} exists already in namespace "
                f"{options.namespace or self._namespace!r}; use get_if_exists=True to get it, or "
                "another name"
            ) from error.__cause__
        actor = expect_made_by_us(handle)._actor_id.binary()
        info = ActorInfo(ActorID(actor), code.name, *about)
        if options.name:
            if options.get_if_exists and (known := kept.get("actor", actor)) is not None:
                info = pickle.loads(known)
            else:
                pickled = codec.encode_code(info, "actor")  # type: ignore[arg-type]  # as any value
                kept.put("actor", actor, pickled, forever=options.detached)
        ref = self._mine(actor, handle)
        self._groups.took(place, [self.holds.find(actor)])
        return info, ref

    def _class(self, code: Code, concurrency: tuple[tuple[str, int], ...]) -> Any:
        made = self._functions.setdefault(code, {})
        if concurrency not in made:
            asynchronous = is_async(code.value)  # type: ignore[arg-type]  # a class
            class_ = host.actor_class(self._home, self._sent(code), asynchronous=asynchronous)
            # Ray takes these with the class, and no later.
            made[concurrency] = self._ray.remote(concurrency_groups=dict(concurrency))(class_)
        return made[concurrency]

    def _mine(self, actor: bytes, handle: Any) -> ObjectRef[Any]:
        return self.holds.add(actor, self.holds.find(actor) or ActorHold(handle))

    def call_actor(self, spec: CallSpec) -> list[ObjectRef[Any]]:
        """Call a method."""
        hold, options, task = self.holds.find(spec.actor), spec.options, fresh()
        if not isinstance(hold, ActorHold):
            left = ActorDiedError("the actor belongs to a session that has ended", spec.actor.hex())
            gone = hold.error if isinstance(hold, GoneHold) else left
            return self._all_gone(gone, options.num_returns)
        stream = isinstance(options.num_returns, str)
        call, needs = self._call(
            task, options.name or spec.method, spec, options, called=spec.method
        )
        method = hold.handle.stream if stream else hold.handle.call
        asked = {**groups.returns(options), "name": options.name or spec.method}
        if options.max_task_retries is not None:
            asked["max_task_retries"] = options.max_task_retries
        if options.retry_exceptions:
            asked["retry_exceptions"] = [Again]
        if options.concurrency_group:
            asked["concurrency_group"] = options.concurrency_group
        with _in_our_words():
            given = method.options(**asked).remote(spec.method, call, *needs)
        return self._results(task, given, options.num_returns)

    def find_actor(self, name: str, namespace: str | None) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The live actor of that name."""
        try:
            handle = self._ray.get_actor(name, namespace or self._namespace)
        except ValueError:
            wanted = namespace or self._namespace
            there = [n for space, n in self.named_actors(all_namespaces=True) if space == wanted]
            raise ValueError(
                f"no actor is named {name!r} in namespace {wanted!r}; there are: {sorted(there)}"
            ) from None
        return self._found(handle)

    def _found(self, handle: Any) -> tuple[ActorInfo, ObjectRef[Any]]:
        actor = expect_made_by_us(handle)._actor_id.binary()
        deadline = time.monotonic() + _KV_PATIENCE_S
        while (pickled := kept.get("actor", actor)) is None:
            if time.monotonic() > deadline:
                raise ActorDiedError("it began, and nobody has said what it is", actor.hex())
            time.sleep(0.01)  # whoever has made it is about to say what it is
        return pickle.loads(pickled), self._mine(actor, handle)

    def get_actor(self, actor: ActorID) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The actor of that identifier: this one."""
        running = self.running()
        if running.actor == actor and host.HERE:
            handle, (here,) = self._ray.get_runtime_context().current_actor, host.HERE
            info = ActorInfo(ActorID(actor), here.class_name, *here.about)
            return info, self._mine(bytes(actor), handle)
        raise ValueError(f"{actor!r} is not the actor that asks; use its handle or its name")

    def named_actors(self, *, all_namespaces: bool) -> list[tuple[str, str]]:
        """Namespaces and names of the living."""
        found = theirs.module("util").list_named_actors(all_namespaces=True)
        return [
            (row["namespace"], row["name"])
            for row in found
            if (all_namespaces or row["namespace"] == self._namespace)
            and not row["name"].startswith(records.OURS)
        ]

    def kill_actor(self, actor: ActorID, *, restart: bool) -> None:
        """End the actor's process now."""
        hold = self.holds.find(actor)
        if isinstance(hold, ActorHold):
            self._ray.kill(hold.handle, no_restart=not restart)

    # Placement groups

    def create_group(self, spec: GroupSpec) -> None:
        """Set resources aside some time."""
        if groups.lacking_for(self._machines(), spec):
            may_be = groups.with_those_to_come(self._machines(anew=True), groups.most_nodes())
            if lacks := groups.lacking_for(may_be, spec):
                raise ValueError(f"the placement group asks for {lacks}")
        self._groups.create(spec)

    def remove_group(self, group: bytes) -> None:
        """Give its resources back."""
        self._groups.remove(group)

    # Values

    def put(self, value: object) -> ObjectRef[Any]:
        """Keep a value."""
        packed = self.holds.pack(value)
        with _in_our_words():
            return self.holds.add(fresh(), ValueHold(self._ray.put(packed)))

    def put_error(self, error: RayError) -> ObjectRef[Any]:
        """Keep an error."""
        return self.holds.add(fresh(), self._gone(error))

    def _all_gone(self, error: RayError, count: int | str) -> list[ObjectRef[Any]]:
        return [self.put_error(error) for _ in range(1 if isinstance(count, str) else count)]

    def _gone(self, error: RayError) -> GoneHold:
        return GoneHold(self._ray.put(self.holds.pack(error, ERROR)), error)

    def get(self, refs: Sequence[ObjectRef[Any]], *, timeout_s: float | None) -> list[Any]:
        """The values in order."""
        holds = [self._hold(ref._id) for ref in refs]
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            found = self._ray.get([hold.waitable() for hold in holds], timeout=timeout_s)
        except theirs.ray().exceptions.RayError as error:
            known = self._in_detail(*self._first(holds, error, deadline))
            raise known from known.__cause__
        return [self.holds.unpack(value) if isinstance(value, tuple) else None for value in found]

    def _first(
        self, holds: Sequence[Hold], error: BaseException, deadline: float | None
    ) -> tuple[Hold, BaseException]:
        """The first error in the order of the references; Ray raises the one that came first."""
        for hold in holds[: None if len(holds) > 1 else 0]:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                self._ray.get(hold.waitable(), timeout=left)
            except theirs.ray().exceptions.RayError as first:
                return hold, ours(first)
        return holds[0], ours(error)

    def _in_detail(self, hold: Hold, error: BaseException) -> BaseException:
        """With what the constructor raised or which group was removed, where that is why."""
        if isinstance(error, GetTimeoutError):
            return GetTimeoutError(f"get() ran into its timeout: {error}")
        if isinstance(error, (TaskCancelledError, WorkerCrashedError)) and self._groups.ended(hold):
            return TaskPlacementGroupRemoved("the task was ended: its placement group was removed")
        if isinstance(error, ActorDiedError) and error.actor_id:
            actor = bytes.fromhex(error.actor_id)
            if self._groups.ended(self.holds.find(actor)):
                kind = ActorPlacementGroupRemoved if "never ran" in str(error) else ActorDiedError
                return kind("the actor was ended: its placement group was removed")
            pickled = kept.get("died", actor) if "creation task" in str(error) else None
            if pickled:
                return died_in_constructor(error.actor_id, pickled)
        return error

    def _hold(self, id_: bytes) -> Hold:
        """What is behind a reference."""
        hold = self._find(id_)
        if hold is None:
            raise ObjectLostError(
                f"object {id_.hex()} is not known here: it was freed, or belongs to a session that "
                "has ended",
                id_.hex(),
            )
        return hold

    def _find(self, id_: bytes) -> Hold | None:
        return self.holds.find(id_) or self._pinned.get(bytes(id_)) or self._groups.known(id_)

    def wait(self, ids: Sequence[bytes], *, count: int, timeout_s: float | None) -> list[int]:
        """Positions of the first `count` that are ready."""
        positions: dict[Any, list[int]] = {}
        gone = []
        for position, id_ in enumerate(ids):
            waitable = self._waitable(id_)
            if waitable is None:
                gone.append(position)  # to get it is an error at once
            else:
                positions.setdefault(waitable, []).append(position)
        if len(gone) >= count or not positions:
            return gone[:count]
        wanted = min(count - len(gone), len(positions))
        ready, rest = self._ray.wait(
            list(positions), num_returns=wanted, timeout=timeout_s, fetch_local=False
        )
        if rest and len(ready) == wanted:  # whichever Ray has seen first: look at all
            ready += self._ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)[0]
        there = gone + [position for waitable in ready for position in positions[waitable]]
        return sorted(there)[:count]

    def _waitable(self, id_: bytes) -> Any:
        hold = self._find(id_)
        if hold is not None:
            return hold.waitable()
        stream = self.holds.stream_of(id_)
        return None if stream is None else stream.generator

    def on_ready(self, ref: ObjectRef[Any], callback: Callable[[], None]) -> None:
        """Call back once when the value is there."""
        hold = self._find(ref._id)
        if hold is None:
            callback()
            return
        call = threading.Thread(target=callback, daemon=True).start if self._is_client else callback
        hold.waitable().future().add_done_callback(lambda _: call())

    # Streams

    def next_item(
        self, stream: ObjectRef[Any], index: int, *, timeout_s: float | None
    ) -> ObjectRef[Any] | None:
        """Item `index`, or None past the end."""
        hold, id_ = self._stream(stream), nth(stream._id, index + 1)
        if timeout_s is not None:
            ready, _ = self._ray.wait([hold.generator], timeout=timeout_s, fetch_local=False)
            if not ready:
                raise GetTimeoutError(
                    f"item {index} of {stream!r} is not there after {timeout_s} s"
                )
        with self._taking:
            known = self.holds.find(id_)
            if known is not None:
                return self.holds.add(id_, known)
            if index != hold.position:
                raise ObjectLostError(
                    f"item {index} of {stream!r} was taken and let go; on a Ray cluster a stream is "
                    "read once",
                    stream.hex(),
                )
            hold.position += 1
        with _in_our_words():
            item = next(hold.generator, None)
        if item is None:
            hold.position = index  # whoever asks again for what is past the end is told the same
            return None
        return self.holds.add(id_, ValueHold(item))

    def _stream(self, stream: ObjectRef[Any]) -> StreamHold:
        hold = self._hold(stream._id)
        if isinstance(hold, GoneHold):
            raise hold.error
        if not isinstance(hold, StreamHold):
            raise ObjectLostError(
                f"{stream!r}: on a Ray cluster a stream is read in the process that asked for it; "
                "pass on the references that it yields",
                stream.hex(),
            )
        return hold

    def on_item(self, stream: ObjectRef[Any], index: int, callback: Callable[[], None]) -> None:
        """Call back once when `next_item` would not wait."""
        hold = self._stream(stream)
        if self._ray.wait([hold.generator], timeout=0, fetch_local=False)[0]:
            callback()
            return

        def wait() -> None:
            with contextlib.suppress(Exception):  # the session may end meanwhile
                self._ray.wait([hold.generator], fetch_local=False)
            callback()

        threading.Thread(target=wait, name="heliostat-stream", daemon=True).start()

    # Cancelling, and references from elsewhere

    def cancel(self, ref: ObjectRef[Any], *, force: bool, recursive: bool) -> None:
        """Stop the task that makes this value."""
        hold = self._hold(ref._id)
        stream, target = isinstance(hold, StreamHold), getattr(hold, "generator", hold.waitable())
        if not stream and self.wait([ref._id], count=1, timeout_s=0):
            return  # Ray 2.60 may end the program that cancels what has just ended
        with _in_our_words():
            self._ray.cancel(target, force=force, recursive=recursive)

    def adopt(self, id_: ObjectID) -> ObjectRef[Any]:
        """A reference for an identifier that arrived inside a value, or from somewhere else."""
        hold = self._find(id_) or self._groups.find(id_)
        if hold is None and (pickled := kept.get("value", id_)) is not None:
            hold = ValueHold(theirs.module("cloudpickle").loads(pickled))
        return ObjectRef(bytes(id_)) if hold is None else self.holds.add(id_, hold)

    def pin(self, id_: ObjectID) -> None:
        """Never drop this value while the session lives, and let every process find it."""
        hold = self._find(id_)
        if hold is None or bytes(id_) in self._pinned:
            return
        self._pinned[bytes(id_)] = hold
        if isinstance(hold, ValueHold):
            kept.put("value", id_, theirs.module("cloudpickle").dumps(hold.waitable()))

    # What runs, and what there is

    def running(self) -> Running:
        """What the calling thread runs."""
        return host.RUNNING.get()

    def function_name(self) -> str | None:
        """The function that runs in the calling thread."""
        return cast("str | None", host.RUNNING.get().function)

    def environment(self) -> str:
        """What this process runs in, as JSON."""
        return environment.described(self._ray.get_runtime_context().runtime_env)

    def cancelled(self) -> bool:
        """Whether somebody has cancelled what the calling thread runs."""
        if host.RUNNING.get().task is None:
            return False
        with contextlib.suppress(RuntimeError):  # an asyncio actor is cancelled in its coroutine
            return bool(self._ray.get_runtime_context().is_canceled())
        return False

    def describe(self) -> ClusterState:
        """What there is."""
        nodes = self._machines()
        may_be = groups.in_all(groups.with_those_to_come(nodes, groups.most_nodes()))
        total = {name: units / UNIT for name, units in may_be.items()}
        labels: Mapping[str, str] = next((n.labels for n in nodes if n.id == self._node), {})
        rows = tuple(node.row for node in nodes)
        return ClusterState(
            total, self._node, self._namespace, dict(labels), self._job, self._address, rows
        )

    def free(self) -> dict[str, float]:
        """What of it is free now."""
        return dict(self._ray.available_resources())

    def records(self, kind: str, part: Part | None = None) -> list[dict[str, Any]]:
        """Rows about the session."""
        if part is not None or kind in ("counts", "live_tasks", "ended_tasks", "ended_counts"):
            raise NotImplementedError(f"a Ray cluster has no records of {kind!r} by part")
        return self._groups.rows() if kind == "placement_groups" else records.rows(kind)

    def preload(self, modules: Sequence[str]) -> None:
        """Ray starts its workers by itself: each imports what it needs."""

    def tally(self, changes: tuple[Change, ...]) -> None:
        """Add to the session's metrics."""
        if changes:
            records.tally(changes)

    def reset(self) -> None:
        """End all work and forget all values, as if the session had just begun."""
        self.close()
        self.__init__(self._options)  # type: ignore[misc]  # as new

    def close(self) -> None:
        """Leave the cluster, and take along what this session has put there."""
        self.holds.clear()
        self._pinned.clear()
        self._leave()
