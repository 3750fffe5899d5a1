"""What there is and does: tasks, actors, objects, workers, nodes, groups. Ray's `ray.util.state`.

The rows are made when they are asked for; nothing is recorded for them but the last 10,000 tasks
that have ended.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import heliostat as ray
from heliostat.runtime_context import records
from heliostat.util._kept_logs import get_log, job_client, list_logs
from heliostat.util._rows import Filter, State, check_address, select
from heliostat.util._summaries import of_actors, of_objects, of_tasks

__all__ = [
    "State",
    "StateApiClient",
    "get_actor",
    "get_job",
    "get_log",
    "get_node",
    "get_objects",
    "get_placement_group",
    "get_task",
    "get_worker",
    "list_actors",
    "list_cluster_events",
    "list_jobs",
    "list_logs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_runtime_envs",
    "list_tasks",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
]


class Lister(Protocol):
    """A function that lists rows of one kind."""

    def __call__(
        self,
        address: str | None = None,
        filters: Sequence[Filter] | None = None,
        limit: int = 100,
        timeout: int = 30,
        detail: bool = False,
        raise_on_missing_output: bool = True,
    ) -> list[State]:
        """The rows; arguments as `list_tasks` has them."""


class Getter(Protocol):
    """A function that finds one row."""

    def __call__(self, id: str, address: str | None = None, timeout: int = 30) -> State | None:
        """The row of this id, or None."""


def _lister(
    kind: str,
    rows: Callable[[], Iterable[Mapping[str, Any]]],
    doc: str,
    *,
    always: Container[str] = (),
) -> Lister:
    """The function that lists these rows. They all take the same arguments."""

    def list_rows(
        address: str | None = None,
        filters: Sequence[Filter] | None = None,
        limit: int = 100,
        timeout: int = 30,
        detail: bool = False,
        raise_on_missing_output: bool = True,
    ) -> list[State]:
        del timeout, raise_on_missing_output
        return select(rows(), address, filters, limit, detail, always)

    list_rows.__name__ = list_rows.__qualname__ = f"list_{kind}"
    list_rows.__doc__ = doc
    return list_rows


def _getter(kind: str, lister: Lister, doc: str) -> Getter:
    """The function that finds the row with an id."""

    def get_row(id: str, address: str | None = None, timeout: int = 30) -> State | None:
        rows = lister(address, [(f"{kind}_id", "=", id)], detail=True, timeout=timeout)
        return rows[0] if rows else None

    get_row.__name__ = get_row.__qualname__ = f"get_{kind}"
    get_row.__doc__ = doc
    return get_row


def _by_size() -> list[dict[str, Any]]:
    return sorted(records("objects"), key=lambda row: int(row["object_size"]))


def _nodes() -> list[dict[str, Any]]:
    return [
        {
            "node_id": node["NodeID"],
            "node_ip": node["NodeManagerAddress"],
            "is_head_node": True,
            "state": "ALIVE",
            "state_message": None,
            "node_name": node["NodeManagerHostname"],
            "resources_total": node["Resources"],
            "labels": node["Labels"],
        }
        for node in ray.nodes()
    ]


def _began_ms() -> int:
    """When this process began, in milliseconds since 1970, as the kernel knows it."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return int(1000 * (boot + ticks / os.sysconf("SC_CLK_TCK")))


def _jobs() -> list[dict[str, Any]]:
    mine = ray.get_runtime_context().get_job_id()
    this = {
        "job_id": mine, "submission_id": None, "type": "DRIVER", "status": "RUNNING",
        "entrypoint": " ".join(sys.argv), "message": None, "error_type": None, "start_time": _began_ms(),
        "end_time": None, "metadata": {}, "runtime_env": {}, "driver_exit_code": None,
        "driver_info": {"id": mine, "node_ip_address": "127.0.0.1", "pid": str(os.getpid())},
    }  # fmt: skip
    submitted = [{**this, **dataclasses.asdict(job)} for job in job_client().list_jobs()]
    return [{**row, "status": str(row["status"])} for row in (*submitted, this)]


list_tasks = _lister(
    "tasks",
    lambda: records("tasks"),
    """Tasks and calls of actors: those that run or wait, with the reason, and the last that ended.

    Args:
        address: Accepted as None only: it is always this session.
        filters: `(field, "=" or "!=" or "contains", value)`; a row must pass all.
        limit: How many rows at most, the newest.
        timeout: Accepted for Ray's sake: the answer is immediate.
        detail: Also times, resources and causes.
        raise_on_missing_output: Accepted for Ray's sake: nothing is ever missing but what `limit`
            cuts off.

    Raises:
        ValueError: For an unknown field, a wrong predicate or a limit out of range.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.state import list_tasks
        >>> @ray.remote
        ... def listed(): return 1
        >>> ray.get(listed.remote())
        1
        >>> [task.state for task in list_tasks(filters=[("name", "=", "listed")])]
        ['FINISHED']
    """,
)
list_actors = _lister(
    "actors",
    lambda: records("actors"),
    """Actors that somebody can still reach, the dead among them; arguments as for `list_tasks`.""",
)
list_workers = _lister(
    "workers",
    lambda: records("workers"),
    """Worker processes, and what each runs; arguments as for `list_tasks`.""",
)
list_placement_groups = _lister(
    "placement_groups",
    lambda: records("placement_groups"),
    """Placement groups, the removed ones among them; arguments as for `list_tasks`.""",
)
list_nodes = _lister(
    "nodes", _nodes, """The one machine there is; arguments as for `list_tasks`."""
)
list_jobs = _lister(
    "jobs",
    _jobs,
    """This program, and the jobs that `JobSubmissionClient` knows; arguments as for `list_tasks`.""",
)
list_runtime_envs = _lister(
    "runtime_envs",
    lambda: records("runtime_envs"),
    """Environments that tasks or actors were given, and whether they could be made.

    Arguments are those of `list_tasks`. `success` is None while one is being made; `ref_cnt`
    (a detail) is the number of worker processes that live in it.
    """,
    always=("runtime_env",),
)
list_cluster_events = _lister(
    "cluster_events",
    lambda: records("events"),
    """What went wrong with processes: the last thousand events, the newest last.

    Workers that died under their work, environments that could not be made, waits in a circle.
    Arguments are those of `list_tasks`.

    Example:
        >>> from heliostat.util.state import list_cluster_events
        >>> [event.severity for event in list_cluster_events()]
        []
    """,
)


def list_objects(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
    """Objects that somebody refers to, the largest first; arguments as for `list_tasks`."""
    del timeout, raise_on_missing_output
    return select(_by_size(), address, filters, limit, detail)[::-1]


get_actor = _getter("actor", list_actors, """The actor of this id, or None.""")
get_worker = _getter("worker", list_workers, """The worker process of this id, or None.""")
get_node = _getter("node", list_nodes, """The machine of this id, or None.""")
get_placement_group = _getter(
    "placement_group", list_placement_groups, """The placement group of this id, or None."""
)


def get_job(id: str, address: str | None = None, timeout: int = 30) -> State | None:
    """The job of this submission id, or this program by its job id; None if unknown."""
    rows = list_jobs(address, limit=1_000_000, detail=True, timeout=timeout)
    found = [row for row in rows if id in (row["submission_id"], row["job_id"])]
    return found[0] if found else None


def get_task(id: Any, address: str | None = None, timeout: int = 30) -> Any:
    """The task of this id or ObjectRef; a list if it was tried several times, None if unknown."""
    del timeout
    wanted = id.hex()[:24] if isinstance(id, ray.ObjectRef) else str(id)
    rows = [row for row in records("tasks") if row["task_id"].startswith(wanted)]
    found = select(rows, address, None, 10_000, True)
    return found[0] if len(found) == 1 else found or None


def get_objects(id: str, address: str | None = None, timeout: int = 30) -> list[State]:
    """The object of this id, in a list; empty if it is not known."""
    return list_objects(address, [("object_id", "=", id)], detail=True, timeout=timeout)


class StateApiClient:
    """All of this module behind one object.

    Args:
        address: Accepted as None only: it is always this session.
        cookies: Accepted for Ray's sake: there is no server.
        headers: Accepted for Ray's sake: there is no server.

    Example:
        >>> from heliostat.util.state import StateApiClient
        >>> [node.state for node in StateApiClient().list("nodes")]
        ['ALIVE']
    """

    def __init__(
        self, address: str | None = None, cookies: Any = None, headers: Any = None
    ) -> None:
        del cookies, headers
        check_address(address)

    def list(
        self, resource: Any, options: Any = None, raise_on_missing_output: bool = True
    ) -> Sequence[State]:
        """The rows of a kind.

        Args:
            resource: "tasks", "actors", "objects", "workers", "nodes", "jobs", "placement_groups",
                "runtime_envs" or "cluster_events".
            options: Something with `filters`, `limit` and `detail`; None for the defaults.
            raise_on_missing_output: Accepted for Ray's sake.

        Raises:
            ValueError: For another kind.
        """
        rows: Sequence[State] = self._named(
            "list",
            resource,
            filters=getattr(options, "filters", None),
            limit=getattr(options, "limit", 100),
            detail=getattr(options, "detail", False),
            raise_on_missing_output=raise_on_missing_output,
        )
        return rows

    def get(self, resource: Any, id: str, options: Any = None) -> Any:
        """The row of this id, or None; resources as for `list`, options mean nothing."""
        del options
        name = _kind(resource)
        return self._named("get", name if name == "objects" else name.removesuffix("s"), id=id)

    def summary(self, resource: Any) -> dict[str, Any]:
        """Counts of "tasks", "actors" or "objects"."""
        counts: dict[str, Any] = self._named("summarize", resource)
        return counts

    def _named(self, verb: str, resource: Any, **arguments: Any) -> Any:
        function = globals().get(f"{verb}_{_kind(resource)}")
        if function is None:
            raise ValueError(f"there is nothing to {verb} of {resource!r}")
        return function(**arguments)


def _kind(resource: Any) -> str:
    return str(getattr(resource, "value", resource))


def summarize_tasks(address: str | None = None, timeout: int = 30) -> dict[str, Any]:
    """How many tasks of each name are in each state.

    Example:
        >>> from heliostat.util.state import summarize_tasks
        >>> sorted(summarize_tasks()["cluster"])
        ['summary', 'summary_by', 'total_actor_scheduled', 'total_actor_tasks', 'total_tasks']
    """
    return {"cluster": of_tasks(list_tasks(address, limit=1_000_000, timeout=timeout))}


def summarize_actors(address: str | None = None, timeout: int = 30) -> dict[str, Any]:
    """How many actors of each class are in each state."""
    return {"cluster": of_actors(list_actors(address, limit=1_000_000, timeout=timeout))}


def summarize_objects(address: str | None = None, timeout: int = 30) -> dict[str, Any]:
    """How many objects there are, how many bytes they have, and how much of that is on disk."""
    rows = list_objects(address, limit=1_000_000, timeout=timeout)
    return {"cluster": {**of_objects(rows, records("memory")), "pid": os.getpid()}}
