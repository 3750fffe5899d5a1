"""RuntimeContext: which task, actor and resources the calling code has."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

from heliostat._core.actors import ActorHandle
from heliostat._core.engine import Running
from heliostat._core.ids import ActorID, JobID, NodeID, PlacementGroupID, TaskID
from heliostat._core.options import UNIT
from heliostat._core.session import current_engine, is_initialized
from heliostat._core.tally import PENDING

if TYPE_CHECKING:
    from heliostat._core.runtime_env import RuntimeEnv
    from heliostat._parts import Part


class RuntimeContext:
    """Facts about the code that asks; made by `heliostat.get_runtime_context()`.

    Example:
        >>> import heliostat as ray
        >>> ray.get_runtime_context().get_task_id() is None
        True
    """

    def _running(self) -> Running:
        return current_engine().running()

    def get_job_id(self) -> str:
        """The session's id in hex."""
        return current_engine().describe().job_id

    def get_node_id(self) -> str:
        """This machine's id in hex."""
        return current_engine().describe().node_id

    def get_session_name(self) -> str:
        """A name of this session, the same in all its processes."""
        return f"session_{current_engine().describe().job_id}"

    def get_temp_dir(self) -> str:
        """The directory under which this machine's temporary files are."""
        return tempfile.gettempdir()

    def get_node_labels(self) -> dict[str, str]:
        """This machine's labels: those given to `init`, and "ray.io/node-id".

        Example:
            >>> import heliostat as ray
            >>> context = ray.get_runtime_context()
            >>> context.get_node_labels()["ray.io/node-id"] == context.get_node_id()
            True
        """
        return dict(current_engine().describe().labels)

    def get_worker_id(self) -> str:
        """An id of this process in hex."""
        return f"{os.getpid():032x}"

    def get_task_id(self) -> str | None:
        """The running task's id in hex, or None in the driver."""
        task = self._running().task
        return None if task is None else task.hex()

    def get_task_name(self) -> str | None:
        """The running task's name, or None in the driver."""
        return self._running().task_name or None

    def get_task_function_name(self) -> str | None:
        """The running function, with its module; None in the driver."""
        return current_engine().function_name()

    def get_actor_id(self) -> str | None:
        """The actor's id in hex, or None outside actors."""
        actor = self._running().actor
        return None if actor is None else actor.hex()

    def get_actor_name(self) -> str | None:
        """The actor's name, empty if it was not given one; None outside actors."""
        running = self._running()
        return None if running.actor is None else running.actor_name

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle to the actor that runs this.

        Raises:
            RuntimeError: Outside actors.
        """
        actor = self._running().actor
        if actor is None:
            raise RuntimeError("current_actor is only there inside an actor's method")
        return ActorHandle(*current_engine().get_actor(ActorID(actor)))

    @property
    def namespace(self) -> str:
        """Where named actors are found."""
        return current_engine().describe().namespace

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this actor was restarted after its process died."""
        return self._running().restarted

    def is_canceled(self) -> bool:
        """Whether somebody has cancelled the task or call that asks.

        Calls of threaded actors are not interrupted: a long one asks this now and then.

        Example:
            >>> import heliostat as ray
            >>> ray.get_runtime_context().is_canceled()
            False
        """
        return current_engine().cancelled()

    def get_placement_group_id(self) -> str | None:
        """The id in hex of the placement group that the task or actor runs in; None outside."""
        place = self._running().place
        return None if place is None else place[0].hex()

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what is submitted here runs in the placement group that this runs in."""
        place = self._running().place
        return place is not None and place[2]

    @property
    def runtime_env(self) -> RuntimeEnv:
        """What the process that asks was born with, and its tasks get if they ask for nothing.

        Example:
            >>> import heliostat as ray
            >>> ray.get_runtime_context().runtime_env
            {}
        """
        import json  # noqa: PLC0415 - seldom asked for

        from heliostat._core.runtime_env import trusted  # noqa: PLC0415 - seldom asked for

        return trusted(json.loads(self.get_runtime_env_string()))

    def get_runtime_env_string(self) -> str:
        """`runtime_env` as JSON.

        Example:
            >>> import heliostat as ray
            >>> ray.get_runtime_context().get_runtime_env_string()
            '{}'
        """
        return current_engine().environment()

    def get_assigned_resources(self) -> dict[str, float]:
        """What the running task or actor was given, by resource name."""
        return {name: units / UNIT for name, units in self._running().resources}

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The accelerators given to the running task or actor."""
        return {"GPU": [str(index) for index in self._running().gpu_ids]}

    # What Ray still has from its early days

    def get(self) -> dict[str, Any]:
        """The ids there are, and the namespace; the methods above say more."""
        found = {
            "job_id": self.job_id,
            "node_id": self.node_id,
            "namespace": self.namespace,
            "task_id": self.task_id,
            "actor_id": self.actor_id,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def job_id(self) -> JobID:
        """The session's id."""
        return JobID.from_hex(self.get_job_id())

    @property
    def node_id(self) -> NodeID:
        """This machine's id."""
        return NodeID.from_hex(self.get_node_id())

    @property
    def task_id(self) -> TaskID | None:
        """The running task's id, or None in the driver."""
        task = self._running().task
        return None if task is None else TaskID(task)

    @property
    def actor_id(self) -> ActorID | None:
        """The actor's id, or None outside actors."""
        actor = self._running().actor
        return None if actor is None else ActorID(actor)

    @property
    def current_placement_group_id(self) -> PlacementGroupID:
        """The id of the placement group that this runs in; nil outside."""
        place = self._running().place
        return PlacementGroupID.nil() if place is None else PlacementGroupID(place[0])

    def get_resource_ids(self) -> dict[str, list[str]]:
        """The same as `get_accelerator_ids`."""
        return self.get_accelerator_ids()


_CONTEXT = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """Facts about the calling code: its task, actor, resources."""
    return _CONTEXT


def get_gpu_ids() -> list[int] | list[str]:
    """The logical GPUs given to the running task or actor; empty in the driver.

    Numbers from 0; where CUDA_VISIBLE_DEVICES is set in the driver, the entries of it.

    Example:
        >>> import heliostat as ray
        >>> ray.get_gpu_ids()
        []
    """
    ids: list[Any] = list(current_engine().running().gpu_ids)
    return ids


def records(kind: str, part: Part | None = None) -> list[dict[str, Any]]:
    """Rows about the session, as `heliostat.util.state` shows them.

    Args:
        kind: "tasks", "actors", "objects", "workers", "placement_groups", "runtime_envs",
            "events", "metrics", "memory" (one row: the budget, and what is in use of it and of the
            disk) or "logs" (the last lines that each worker has printed). Where there may be very
            many: "counts" (by name and state), "live_tasks", "ended_tasks", "ended_counts" (since first asked).
        part: Which rows of "live_tasks", "ended_tasks" or "objects" are wanted; the first hundred
            if left out, but all objects. None of "ended_counts" (`most=0`): stop counting.

    Raises:
        ValueError: For another kind, or a part of one that is given as a whole.

    Example:
        >>> from heliostat.runtime_context import records
        >>> isinstance(records("actors"), list)
        True
    """
    kinds = (
        "tasks", "actors", "objects", "workers", "logs", "placement_groups", "metrics",
        "runtime_envs", "events", "memory", "counts", "live_tasks", "ended_tasks", "ended_counts",
    )  # fmt: skip
    if kind not in kinds:
        raise ValueError(f"there are records of {', '.join(kinds)}, not of {kind!r}")
    engine = current_engine()
    if kind == "metrics":
        engine.tally(PENDING.take())
    if part is not None and kind not in ("live_tasks", "ended_tasks", "ended_counts", "objects"):
        raise ValueError(f"records of {kind!r} are given as a whole; leave part={part!r} out")
    return engine.records(kind, part)


def preload(*modules: str) -> None:
    """Have actors that are made from now on find these modules imported.

    Workers are born with what the driver has imported by then. What takes long to import can be named
    here first: the process that workers are forked from imports it meanwhile, on another core. Nothing
    happens without a session, in a worker, and where an engine forks no workers.

    Args:
        modules: Their names, in this order.

    Example:
        >>> from heliostat.runtime_context import preload
        >>> preload("decimal")
    """
    if is_initialized():
        current_engine().preload(modules)


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """What ran when, as a Chrome trace: look at it in chrome://tracing or ui.perfetto.dev.

    Args:
        filename: Where to write it as JSON; None: return the events instead.

    Returns:
        The events, or None if they were written. They cover the last 10,000 tasks; what runs ends now.

    Example:
        >>> import heliostat as ray
        >>> @ray.remote
        ... def work(): return 1
        >>> ray.get(work.remote())
        1
        >>> [event["ph"] for event in ray.timeline() if event["name"] == "work"][-1]
        'X'
    """
    events = trace(records("tasks"), time.time() * 1000)
    if filename is not None:
        import json  # noqa: PLC0415 - only here, and every program would load it

        with open(filename, "w") as file:
            json.dump(events, file)
    return events if filename is None else None


def trace(rows: list[dict[str, Any]], now_ms: float) -> list[dict[str, Any]]:
    """The events of a Chrome trace for rows of tasks; what still runs lasts until now."""
    return [
        {
            "name": row["name"],
            "cat": row["type"].lower(),
            "ph": "X",  # a span with a beginning and a length
            "ts": row["start_time_ms"] * 1000,
            "dur": max(0, (row["end_time_ms"] or now_ms) - row["start_time_ms"]) * 1000,
            "pid": f"node {row['node_id'][:8]}",
            "tid": f"worker {row['worker_pid']}",
            "cname": "terrible" if row["state"] == "FAILED" else "good",
            "args": {"task_id": row["task_id"], "state": row["state"]},
        }
        for row in rows
        if row["start_time_ms"] and (row["end_time_ms"] or row["state"] == "RUNNING")
    ]
