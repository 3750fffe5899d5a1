"""Engine: a cluster as one process sees it. The protocol, and where engines are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from heliostat._core.ids import ActorID, ObjectID
from heliostat._core.options import InitOptions, Place, Resources
from heliostat._core.refs import ObjectRef
from heliostat._core.specs import ActorInfo, ActorSpec, CallSpec, TaskSpec
from heliostat._core.tally import Change
from heliostat.exceptions import RayError

if TYPE_CHECKING:
    from heliostat._core.groups import GroupSpec
    from heliostat._parts import Part

# Loaded by name when chosen, so that nothing imports an engine it does not use.
NAMES = {
    "local": "heliostat._engines.local.engine:LocalEngine",
    "inline": "heliostat._engines.inline:InlineEngine",
    "ray": "heliostat._engines.ray.engine:RayEngine",
}


def qualified(function: Any) -> str:
    """The name of a function or class, with its module."""
    name = getattr(function, "__name__", type(function).__name__)
    return f"{getattr(function, '__module__', None)}.{name}"


class Running(NamedTuple):
    """The task or actor that the calling thread runs for, as far as there is one."""

    task: bytes | None
    task_name: str
    actor: bytes | None
    actor_name: str
    gpu_ids: tuple[int | str, ...]
    resources: Resources
    restarted: bool
    place: Place | None = None
    function: Any = None  # the function itself, its name, or what the engine finds it by


class ClusterState(NamedTuple):
    """What there is; resources by name, in whole units. On one machine it stays as it is."""

    total: dict[str, float]
    node_id: str
    namespace: str
    labels: dict[str, str]
    job_id: str
    address: str = "local"
    nodes: tuple[dict[str, Any], ...] = ()  # rows with Ray's names, where there are several


class Engine(Protocol):
    """A cluster, as one process sees it. Values go in and out; specs are frozen.

    References are counted by the engine: each `ObjectRef` it returns carries its own finaliser.
    A stream is known by the reference of its task; its items have references of their own.
    """

    def __init__(self, options: InitOptions) -> None: ...

    def submit(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        """Run a task some time. One reference per result; for a stream, one for its end."""

    def create_actor(self, spec: ActorSpec) -> tuple[ActorInfo, ObjectRef[Any]]:
        """Make an actor; the reference keeps it alive and is ready when its constructor is done."""

    def call_actor(self, spec: CallSpec) -> list[ObjectRef[Any]]:
        """Call a method; calls of one caller run in order unless the actor overlaps calls."""

    def find_actor(self, name: str, namespace: str | None) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The live actor of that name. Raises ValueError."""

    def get_actor(self, actor: ActorID) -> tuple[ActorInfo, ObjectRef[Any]]:
        """The actor of that identifier, which lives. Raises ValueError."""

    def named_actors(self, *, all_namespaces: bool) -> list[tuple[str, str]]:
        """Namespaces and names of the living actors that have one."""

    def kill_actor(self, actor: ActorID, *, restart: bool) -> None:
        """End the actor's process now."""

    def create_group(self, spec: GroupSpec) -> None:
        """Set a placement group's resources aside some time; the object of its id tells when.

        Raises ValueError for a name that is taken, and for what can never be given.
        """

    def remove_group(self, group: bytes) -> None:
        """Give its resources back; what runs in it is ended. Nothing if it was removed before."""

    def put(self, value: object) -> ObjectRef[Any]:
        """Keep a value."""

    def put_error(self, error: RayError) -> ObjectRef[Any]:
        """Keep an error, for `get` to raise."""

    def get(self, refs: Sequence[ObjectRef[Any]], *, timeout_s: float | None) -> list[Any]:
        """The values in order; raises the first error. Raises GetTimeoutError."""

    def wait(self, ids: Sequence[bytes], *, count: int, timeout_s: float | None) -> list[int]:
        """Positions of the first `count` that are ready, in order; fewer if the time is over."""

    def on_ready(self, ref: ObjectRef[Any], callback: Callable[[], None]) -> None:
        """Call back once, on any thread, when the value or its error is there."""

    def next_item(
        self, stream: ObjectRef[Any], index: int, *, timeout_s: float | None
    ) -> ObjectRef[Any] | None:
        """Item `index` of a stream, or None past its end. Raises GetTimeoutError."""

    def on_item(self, stream: ObjectRef[Any], index: int, callback: Callable[[], None]) -> None:
        """Call back once when `next_item` would not wait."""

    def cancel(self, ref: ObjectRef[Any], *, force: bool, recursive: bool) -> None:
        """Stop the task that makes this value."""

    def adopt(self, id_: ObjectID) -> ObjectRef[Any]:
        """A counted reference for an identifier that arrived inside a value."""

    def pin(self, id_: ObjectID) -> None:
        """Never drop this value while the session lives."""

    def running(self) -> Running:
        """What the calling thread runs."""

    def function_name(self) -> str | None:
        """The module and name of the function that runs; None in the driver."""

    def environment(self) -> str:
        """The `runtime_env` that the calling code runs in, as JSON."""

    def cancelled(self) -> bool:
        """Whether somebody has cancelled what the calling thread runs."""

    def describe(self) -> ClusterState:
        """What there is. Nobody has to be asked for it."""

    def free(self) -> dict[str, float]:
        """What of it is free now, by resource name, in whole units."""

    def records(self, kind: str, part: Part | None = None) -> list[dict[str, Any]]:
        """Rows of one kind (see `heliostat.runtime_context.records`), with Ray's names."""

    def reset(self) -> None:
        """End all work and forget all values, as if the session had just begun."""

    def preload(self, modules: Sequence[str]) -> None:
        """Workers that start later will want these modules: import them ahead, if that is possible."""

    def tally(self, changes: tuple[Change, ...]) -> None:
        """Add what this process has recorded to the session's metrics."""

    def close(self) -> None:
        """End everything and leave nothing behind."""
