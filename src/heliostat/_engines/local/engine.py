"""LocalEngine: the engine protocol on top of one Port; runs on the caller's thread.

The same class serves the driver (its port is the Hub, in the same process) and worker processes
(their port is a Link, a socket to the hub). It turns values into bytes and back; the port knows
where they are. Knows nothing of scheduling.
"""

from __future__ import annotations

import contextvars
import functools
import pickle
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from heliostat._core import codec
from heliostat._core.codec import Encoded, pack
from heliostat._core.engine import ClusterState, Running, qualified
from heliostat._core.ids import ActorID, ObjectID, fresh, nth
from heliostat._core.options import (
    UNIT,
    ActorOptions,
    InitOptions,
    Place,
    Resources,
    TaskOptions,
)
from heliostat._core.outcomes import raisable
from heliostat._core.refs import ObjectRef
from heliostat._core.resources import missing, remedy
from heliostat._core.specs import About, ActorInfo, ActorSpec, CallSpec, Code, TaskSpec
from heliostat._core.tally import Change
from heliostat._engines.local import messages as m
from heliostat._engines.local.objects.store import Store, extent
from heliostat._engines.local.processes.described import Environments
from heliostat._engines.local.scheduling.streams import num_returns_of
from heliostat._engines.local.transport.waiting import Some, Waiter
from heliostat.exceptions import (
    ActorUnschedulableError,
    GetTimeoutError,
    RayError,
    TaskUnschedulableError,
)

if TYPE_CHECKING:
    from heliostat._core.groups import GroupSpec
    from heliostat._core.runtime_env import RuntimeEnv
    from heliostat._parts import Part

INLINE_MOST = 64 << 10  # larger values go through the arena
_NOTHING = Running(None, "", None, "", (), (), False)

RUNNING: contextvars.ContextVar[Running] = contextvars.ContextVar("running", default=_NOTHING)


def _with_gpu(shape: Resources) -> int:
    """How often one process runs a task of these resources, if it does not say so.

    As in Ray once for a task with a GPU, because libraries keep its memory until they end.
    """
    return int(any(name == "GPU" for name, _ in shape))


@functools.lru_cache(maxsize=256)
def _about(pickled: bytes) -> About:
    about: About = pickle.loads(pickled)
    return about


class Port(Protocol):
    """Where events go and values come from, as seen by one process."""

    proc: int
    store: Store
    total: dict[str, int]
    namespace: str
    node_id: str
    labels: dict[str, str]

    @property
    def shield(self) -> AbstractContextManager[Any]:
        """No cancellation interrupts what is done in it."""

    def post(self, event: Any) -> object:
        """Tell the scheduler."""

    def call(self, called: m.Called) -> bool:
        """Call an actor; whether its result, if it is one, is counted already (see `own`)."""

    def expose(self, ids: Collection[bytes]) -> None:
        """Others are about to hear of these objects: see that the hub knows them."""

    def ask(self, question: str, payload: Any) -> Any:
        """Ask the hub and wait for the answer."""

    def value(self, id_: bytes) -> m.Value | None:
        """The value, if it is known here."""

    def ready(self, ids: Sequence[bytes], count: int) -> list[int]:
        """Positions of the first `count` that are known here."""

    def subscribe_some(self, waiter: Some, count: int) -> None:
        """Have the waiter miss as many of its objects as are not there yet, of `count`."""

    def unsubscribe_some(self, waiter: Some) -> None:
        """The end of `subscribe_some`."""

    def subscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Count the waiter down for each of these when it is there."""

    def unsubscribe(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        """Forget a waiter whose time is over."""

    def wait(self, waiter: Waiter, timeout_s: float | None) -> bool:
        """Wait until the waiter misses nothing."""

    def own(self, id_: bytes) -> None:
        """A first reference that the hub has counted already; `drop` takes it back."""

    def adopt(self, id_: bytes) -> None:
        """Count one more reference in this process; `drop` takes it back."""

    def drop(self, id_: bytes) -> object:
        """One reference less; safe in finalisers."""

    def look(self, id_: bytes, value: m.Value, timeout_s: float | None) -> m.Value:
        """The value as it is now, brought into memory if it was on disk.

        What is in the arena stays where it is until `look_away`, which every call of this needs.
        """

    def look_away(self, id_: bytes) -> object:
        """The end of `look`; safe in finalisers."""

    def is_cancelled(self, task: bytes) -> bool:
        """Whether somebody has cancelled this task, which runs here."""

    def reset(self) -> None:
        """End all work and forget all values; only the driver can."""

    def close(self) -> None:
        """End the session."""


class LocalEngine:
    """Many processes on this machine, as one of them sees it."""

    def __init__(self, options: InitOptions, port: Port | None = None) -> None:
        if port is None:
            from heliostat._engines.local.hub import Hub  # noqa: PLC0415 - workers have none
            from heliostat._engines.local.processes.machine import totals  # noqa: PLC0415 - as above

            port = Hub(options, *totals(options))
        self._port = port
        self._defined: set[bytes] = set()
        self.functions: dict[bytes, Any] = {}  # those that this process has run
        self.environments = Environments(port)
        if options.runtime_env is not None:
            self._begin_at_home(options.runtime_env)

    def _begin_at_home(self, env: RuntimeEnv) -> None:
        """The environment of the session: what tasks get that ask for none."""
        key = self.environments.describe(env)
        from heliostat._core import runtime_env  # noqa: PLC0415 - most sessions have none

        text, hook = runtime_env.describe(env)
        self.environments.inherit(key, text, hook)
        if key:
            self._port.post(m.Home(key, env.get("config", {}).get("eager_install", True)))

    # Work

    def submit(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        """Run a task some time."""
        code, options = spec.code, spec.options
        if code.key not in self._defined:
            self._define(code)
        shape = options.resources
        max_calls = options.max_calls or 0
        if len(shape) != 1 or shape[0][0] != "CPU" or shape[0][1] > self._port.total["CPU"]:
            self._check(shape, f"task {code.name}", TaskUnschedulableError)
            if options.max_calls is None:
                max_calls = _with_gpu(shape)
        env = options.runtime_env
        environment = self.environments.own if env is None else self.environments.key(env)
        port, task, running = self._port, fresh(), RUNNING.get()
        place = running.place
        if place is not None or options.scheduling is not None:
            place = self._place(options, f"task {code.name}", TaskUnschedulableError)
        call, slots, needs, keep = self._pack(code.name, spec.args, spec.kwargs)
        num_returns = options.num_returns
        if isinstance(num_returns, str):
            num_returns = num_returns_of(options.backpressure)
        retry_on: Any = options.retry_exceptions
        if retry_on:
            retry_on = self._retry_on(retry_on)
        port.post(
            m.Submitted.of((
                port.proc, task, code.key, options.name or code.name, num_returns, shape,
                options.max_retries, retry_on, call, keep._id if keep is not None else None, slots, needs, running.task, place,
                max_calls, environment,
            ))
        )  # fmt: skip
        return self._results(task, num_returns)

    def _place(
        self, options: TaskOptions | ActorOptions, who: str, error: type[Exception]
    ) -> Place | None:
        """The bundle to run in, if any; raises if the one machine is not where it may run."""
        from heliostat._core import scheduling  # noqa: PLC0415 - few programs say where to run

        asked = options.scheduling
        lacks = scheduling.misfit(asked, self._port.node_id, self._port.labels)
        if lacks:
            raise error(f"{who} asks for {lacks}")
        return scheduling.place_of(asked, options.resources, who, RUNNING.get().place)

    def create_actor(self, spec: ActorSpec) -> tuple[ActorInfo, ObjectRef[Any]]:
        """Make an actor."""
        code, options = spec.code, spec.options
        if code.key not in self._defined:
            self._define(code)
        self._check(options.resources, f"actor {code.name}", ActorUnschedulableError)
        port, env, running = self._port, options.runtime_env, RUNNING.get()
        environment = self.environments.own if env is None else self.environments.key(env)
        place = running.place
        if place is not None or options.scheduling is not None:
            place = self._place(options, f"actor {code.name}", ActorUnschedulableError)
        call, slots, needs, keep = self._pack(code.name, spec.args, spec.kwargs)
        created = m.Created(
            port.proc, fresh(), code.key, code.name, options.resources, options.max_restarts,
            options.max_task_retries, options.max_concurrency or 0, options.name,
            options.namespace or port.namespace, options.detached, options.concurrency_groups,
            bool(options.out_of_order), pickle.dumps(spec.about()), call,
            keep._id if keep is not None else None, slots, needs, running.task, place,
            environment,
        )  # fmt: skip
        if options.name:
            with port.shield:  # the handle has come with the answer: it must not be lost
                return self._actor(*port.ask("create", (tuple(created), options.get_if_exists)))
        port.post(created)
        info = ActorInfo(ActorID(created.task), code.name, *spec.about())
        return info, self._mine(created.task)

    def call_actor(self, spec: CallSpec) -> list[ObjectRef[Any]]:
        """Call a method."""
        options, port, task = spec.options, self._port, fresh()
        call, slots, needs, keep = self._pack(spec.method, spec.args, spec.kwargs)
        num_returns = options.num_returns
        if isinstance(num_returns, str):
            num_returns = num_returns_of(options.backpressure)
        retry_on: Any = options.retry_exceptions
        if retry_on:
            retry_on = self._retry_on(retry_on)
        method = m.called_as(spec.method, options.name) if options.name else spec.method
        retries = m.AS_THE_ACTOR if options.max_task_retries is None else options.max_task_retries
        called = m.Called.of((
            port.proc, task, spec.actor, method, num_returns, retries, retry_on, call,
            keep._id if keep is not None else None, slots, needs, RUNNING.get().task,
            options.concurrency_group, 0, 0,
        ))  # fmt: skip
        if spec.max_pending_calls > 0:
            port.ask("call", (tuple(called), spec.max_pending_calls))
        elif port.call(called) and num_returns == 1:
            return [ObjectRef(task, port.drop)]
        return self._results(task, num_returns)

    def create_group(self, spec: GroupSpec) -> None:
        """Set resources aside some time."""
        from heliostat._core import scheduling  # noqa: PLC0415 - few programs have groups

        port = self._port
        lacks = scheduling.infeasible(spec, port.total, port.labels)
        if lacks:
            raise ValueError(f"the placement group asks for {lacks}")
        grouped = m.Grouped(
            port.proc, spec.id, spec.bundles, spec.strategy, spec.name, port.namespace,
            spec.detached, (m.INLINE, spec.handle, (), ()),
        )  # fmt: skip
        port.ask("group", tuple(grouped))

    def remove_group(self, group: bytes) -> None:
        """Give its resources back."""
        self._port.post(m.Ungrouped(group))

    def _results(self, task: bytes, num_returns: int) -> list[ObjectRef[Any]]:
        if num_returns == 1 or num_returns < 0:
            return [self._mine(task)]
        if num_returns == 0:
            self._mine(task)  # counted, and let go at once
        return [self._mine(nth(task, index)) for index in range(num_returns)]

    def _mine(self, id_: bytes) -> ObjectRef[Any]:
        """A reference that the hub has counted already, because this process asked for it."""
        self._port.own(id_)
        return ObjectRef(id_, self._port.drop)

    def _define(self, code: Code) -> None:
        blob = codec.encode_code(code.value, code.name)
        self._port.post(m.Defined.of((self._port.proc, code.key, blob)))
        self._defined.add(code.key)

    def _check(self, shape: Resources, who: str, error: type[Exception]) -> None:
        lacks = missing(self._port.total, shape)
        if lacks:
            have = {name: units / UNIT for name, units in self._port.total.items()}
            raise error(
                f"{who} asks for more than there is: {lacks}. The session has {have}. Ask for "
                f"less, or {remedy(self._port.total, shape)} (or HELIOSTAT_NUM_CPUS and "
                "HELIOSTAT_NUM_GPUS in the environment)"
            )

    def _retry_on(self, kinds: bool | tuple[type[BaseException], ...]) -> Any:
        return kinds if isinstance(kinds, bool) else codec.encode_code(kinds, "retry_exceptions")  # type: ignore[arg-type]

    def _pack(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[m.Value, tuple[int | str, ...], tuple[bytes, ...], ObjectRef[Any] | None]:
        """Arguments as a value; large ones are kept as an object while the task needs them."""
        encoded, slots, needs = pack(name, args, kwargs)
        if needs or encoded.refs:
            self._port.expose((*needs, *encoded.refs))
        if not encoded.buffers and len(encoded.data) <= INLINE_MOST:
            return (m.INLINE, encoded[0], (), encoded[2]), slots, needs, None
        if encoded.size() <= INLINE_MOST:
            return (m.INLINE, encoded.data, encoded.buffers, encoded.refs), slots, needs, None
        with self._port.shield:
            value = self._to_arena(encoded)
            return value, slots, needs, self._keep(value)

    # Values

    def put(self, value: object) -> ObjectRef[Any]:
        """Keep a value."""
        with self._port.shield:
            return self._keep(self.to_value(value))

    def put_error(self, error: RayError) -> ObjectRef[Any]:
        """Keep an error."""
        with self._port.shield:
            return self._keep(self.to_value(error, m.ERROR))

    def _keep(self, value: m.Value) -> ObjectRef[Any]:
        id_ = fresh()
        try:
            self._port.post(m.Put.of((self._port.proc, id_, value)))
        except BaseException:  # interrupted, before the hub heard of it or after
            if value[0] == m.STORED:
                self._port.ask("unreserve", value[1])
            self._port.drop(id_)
            raise
        return self._mine(id_)

    def to_value(self, value: object, kind: int = m.INLINE) -> m.Value:
        """Encode a value; large ones into the arena."""
        encoded = codec.encode(value)
        data, buffers, refs = encoded
        if refs:
            self._port.expose(refs)
        if (
            (buffers or len(data) > INLINE_MOST)
            and kind == m.INLINE
            and encoded.size() > INLINE_MOST
        ):
            return self._to_arena(encoded)
        return kind, data, buffers, refs

    def to_values(self, values: Sequence[object]) -> tuple[m.Value, ...]:
        """Encode several; if one fails, no memory is kept for the others."""
        done: list[m.Value] = []
        try:
            for value in values:
                done.append(self.to_value(value))  # noqa: PERF401 - those done are needed below
        except BaseException:
            for kind, offset, _, _ in done:
                if kind == m.STORED:
                    self._port.ask("unreserve", offset)
            raise
        return tuple(done)

    def _to_arena(self, encoded: Encoded) -> m.Value:
        sizes = (len(encoded.data), *(len(buffer) for buffer in encoded.buffers))
        offset, is_fresh = self._port.ask("reserve", extent(sizes))
        try:
            self._port.store.write(offset, encoded, fresh=is_fresh)
        except BaseException:  # full, or interrupted
            self._port.ask("unreserve", offset)
            raise
        return m.STORED, offset, sizes, encoded.refs

    def from_value(self, id_: bytes | None, value: m.Value, timeout_s: float | None = None) -> Any:
        """Decode a value; raises if it is an error. Large buffers stay views of the arena."""
        kind, head, parts, _ = value
        if kind == m.INLINE:
            return pickle.loads(head, buffers=parts)
        if kind == m.ERROR:
            raise raisable(pickle.loads(head, buffers=parts))
        assert kind in m.OUT_OF_LINE
        assert id_ is not None
        port = self._port
        value = kind, head, parts, _ = port.look(id_, value, timeout_s)
        if kind != m.STORED:  # it was lost meanwhile, and made again or not
            port.look_away(id_)
            return self.from_value(id_, value)
        data, *buffers = port.store.read(id_, head, parts, port.look_away)
        return pickle.loads(data, buffers=buffers)

    def get(self, refs: Sequence[ObjectRef[Any]], *, timeout_s: float | None) -> list[Any]:
        """The values in order."""
        known = self._port.value
        if len(refs) == 1:  # a round trip, as a rule: every call that is saved here counts
            id_ = refs[0]._id
            value = known(id_)
            if value is None:
                self._await((id_,), timeout_s)
                value = known(id_)
            return [self.from_value(id_, value, timeout_s)]  # type: ignore[arg-type]
        ids = [ref._id for ref in refs]
        values = list(map(known, ids))
        if None in values:
            self._await([i for i, v in zip(ids, values, strict=True) if v is None], timeout_s)
            values = list(map(known, ids))
        decode = self.from_value
        return [decode(id_, value, timeout_s) for id_, value in zip(ids, values, strict=True)]  # type: ignore[arg-type]

    def _await(self, ids: Sequence[bytes], timeout_s: float | None) -> None:
        waiter = Waiter()
        waiter.ids = ids
        self._port.subscribe(ids, waiter)
        try:
            if self._port.wait(waiter, timeout_s):
                return
        finally:
            if waiter.missing > 0:
                self._port.unsubscribe(ids, waiter)
        raise GetTimeoutError(
            f"get() waited {timeout_s} s, and {waiter.missing} of the values are not there yet"
        )

    def wait(self, ids: Sequence[bytes], *, count: int, timeout_s: float | None) -> list[int]:
        """Positions of the first `count` that are ready."""
        port = self._port
        ready = port.ready(ids, count)
        if len(ready) < count and timeout_s != 0:
            waiter = Some(ids)
            port.subscribe_some(waiter, count)
            try:
                port.wait(waiter, timeout_s)
            finally:
                port.unsubscribe_some(waiter)
            ready = port.ready(ids, count)
        return ready

    def on_ready(self, ref: ObjectRef[Any], callback: Callable[[], None]) -> None:
        """Call back once when the value is there."""
        self._when((ref._id,), callback)

    def _when(self, ids: Sequence[bytes], callback: Callable[[], None]) -> None:
        if self._port.value(ids[0]) is not None:
            callback()
            return
        self._port.subscribe(ids, Waiter(callback=callback))

    # Streams: item i of a stream has the identifier nth(stream, i + 1)

    def next_item(
        self, stream: ObjectRef[Any], index: int, *, timeout_s: float | None
    ) -> ObjectRef[Any] | None:
        """Item `index`, or None past the end."""
        port, item = self._port, nth(stream._id, index + 1)
        value = port.value(item)
        if value is None:
            self._await([item], timeout_s)
            value = port.value(item)
        if value is not None and value[0] == m.END:
            return None
        port.adopt(item)
        port.post(m.Taken.of((port.proc, stream._id, item)))
        return ObjectRef(item, port.drop)

    def on_item(self, stream: ObjectRef[Any], index: int, callback: Callable[[], None]) -> None:
        """Call back once when `next_item` would not wait."""
        self._when((nth(stream._id, index + 1),), callback)

    # Actors and tasks that are there already

    def find_actor(self, name: str, namespace: str | None) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The live actor of that name."""
        with self._port.shield:
            return self._actor(*self._port.ask("find", (namespace or self._port.namespace, name)))

    def get_actor(self, actor: ActorID) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The actor of that identifier."""
        with self._port.shield:
            return self._actor(*self._port.ask("actor", bytes(actor)))

    def named_actors(self, *, all_namespaces: bool) -> list[tuple[str, str]]:
        """Namespaces and names of the living."""
        names: list[tuple[str, str]] = self._port.ask("names", None)
        return [key for key in names if all_namespaces or key[0] == self._port.namespace]

    def _actor(self, actor: bytes, name: str, about: bytes) -> tuple[ActorInfo, ObjectRef[Any]]:
        return ActorInfo(ActorID(actor), name, *_about(about)), self._mine(actor)

    def kill_actor(self, actor: ActorID, *, restart: bool) -> None:
        """End the actor's process now."""
        self._port.post(m.Killed(self._port.proc, bytes(actor), restart))

    def cancel(self, ref: ObjectRef[Any], *, force: bool, recursive: bool) -> None:
        """Stop the task that makes this value."""
        self._port.expose((ref._id,))
        event = m.Cancelled(self._port.proc, ref._id, force, recursive)
        if force:
            self._port.ask("cancel", tuple(event))  # it may be refused
        else:
            self._port.post(event)

    def adopt(self, id_: ObjectID) -> ObjectRef[Any]:
        """A counted reference for an identifier that arrived inside a value."""
        plain = bytes(id_)
        self._port.adopt(plain)
        return ObjectRef(plain, self._port.drop)

    def pin(self, id_: ObjectID) -> None:
        """Never drop this value while the session lives."""
        self._port.expose((bytes(id_),))
        self._port.adopt(bytes(id_))

    def running(self) -> Running:
        """What the calling thread runs."""
        return RUNNING.get()

    def function_name(self) -> str | None:
        """The function that runs in the calling thread."""
        found = RUNNING.get().function
        name: str | None = qualified(self.functions[found]) if type(found) is bytes else found
        return name

    def environment(self) -> str:
        """What this process runs in, as JSON."""
        return self.environments.described()

    def cancelled(self) -> bool:
        """Whether somebody has cancelled what the calling thread runs."""
        task = RUNNING.get().task
        return task is not None and self._port.is_cancelled(task)

    def describe(self) -> ClusterState:
        """What there is."""
        port = self._port
        total = {name: units / UNIT for name, units in port.total.items()}
        return ClusterState(total, port.node_id, port.namespace, dict(port.labels), port.node_id)

    def free(self) -> dict[str, float]:
        """What of it is free now."""
        free = self._port.ask("free", None)
        return {name: max(0, units) / UNIT for name, units in free}

    def records(self, kind: str, part: Part | None = None) -> list[dict[str, Any]]:
        """Rows about tasks, actors, objects, workers or placement groups."""
        rows: list[dict[str, Any]] = self._port.ask("records", (kind, part))
        return rows

    def reset(self) -> None:
        """End all work and forget all values, as if the session had just begun."""
        self._port.reset()

    def preload(self, modules: Sequence[str]) -> None:
        """Have the zygote import these; a worker forks nothing."""
        if not self._port.proc:
            self._port.post(m.Foreseen(tuple(modules)))

    def tally(self, changes: tuple[Change, ...]) -> None:
        """Add to the session's metrics."""
        self._port.post(m.Tallied(self._port.proc, changes))

    def close(self) -> None:
        """End every process of the session, and free its memory."""
        self._port.close()
