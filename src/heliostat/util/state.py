"""What there is and does: tasks, actors, objects, workers, nodes, groups. Ray's `ray.util.state`.

The rows are made when they are asked for; nothing is recorded for them but the last 10,000 tasks
that have ended.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import heliostat as ray
from heliostat.runtime_context import records

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
    "list_jobs",
    "list_logs",
    "list_nodes",
    "list_objects",
    "list_placement_groups",
    "list_tasks",
    "list_workers",
    "summarize_actors",
    "summarize_objects",
    "summarize_tasks",
]

Filter = tuple[str, str, Any]

# Shown only with detail=True.
_DETAILS = {
    "creation_time_ms", "start_time_ms", "end_time_ms", "required_resources", "death_cause",
    "is_detached", "num_restarts", "resources", "bundles", "start_time", "end_time", "metadata",
    "runtime_env", "driver_exit_code",
}  # fmt: skip


class State(Mapping[str, Any]):
    """One row: its fields are attributes and items.

    Example:
        >>> State({"name": "f", "state": "RUNNING"}).state
        'RUNNING'
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = dict(fields)

    def __getattr__(self, name: str) -> Any:
        if name == "_fields" or name not in self._fields:
            raise AttributeError(f"no field {name!r}; there are: {', '.join(self._fields)}")
        return self._fields[name]

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def asdict(self) -> dict[str, Any]:
        """The fields as a dict."""
        return dict(self._fields)

    def __repr__(self) -> str:
        return f"State({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"


def list_tasks(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
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
    """
    del timeout, raise_on_missing_output
    return _rows(records("tasks"), address, filters, limit, detail)


def list_actors(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
    """Actors that somebody can still reach, the dead among them; arguments as for `list_tasks`."""
    del timeout, raise_on_missing_output
    return _rows(records("actors"), address, filters, limit, detail)


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
    rows = sorted(records("objects"), key=lambda row: int(row["object_size"]))
    return _rows(rows, address, filters, limit, detail)[::-1]


def list_workers(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
    """Worker processes, and what each runs; arguments as for `list_tasks`."""
    del timeout, raise_on_missing_output
    return _rows(records("workers"), address, filters, limit, detail)


def list_placement_groups(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
    """Placement groups, the removed ones among them; arguments as for `list_tasks`."""
    del timeout, raise_on_missing_output
    return _rows(records("placement_groups"), address, filters, limit, detail)


def list_nodes(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
    """The one machine there is; arguments as for `list_tasks`."""
    del timeout, raise_on_missing_output
    rows = [
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
    return _rows(rows, address, filters, limit, detail)


def list_jobs(
    address: str | None = None,
    filters: Sequence[Filter] | None = None,
    limit: int = 100,
    timeout: int = 30,
    detail: bool = False,
    raise_on_missing_output: bool = True,
) -> list[State]:
    """This program, and the jobs that `JobSubmissionClient` knows; arguments as for `list_tasks`."""
    del timeout, raise_on_missing_output
    mine = ray.get_runtime_context().get_job_id()
    this = {
        "job_id": mine, "submission_id": None, "type": "DRIVER", "status": "RUNNING",
        "entrypoint": " ".join(sys.argv), "message": None, "error_type": None, "start_time": None,
        "end_time": None, "metadata": {}, "runtime_env": {}, "driver_exit_code": None,
        "driver_info": {"id": mine, "node_ip_address": "127.0.0.1", "pid": str(os.getpid())},
    }  # fmt: skip
    submitted = [{**this, **dataclasses.asdict(job)} for job in _job_client().list_jobs()]
    rows = [{**row, "status": str(row["status"])} for row in (*submitted, this)]
    return _rows(rows, address, filters, limit, detail)


def get_job(id: str, address: str | None = None, timeout: int = 30) -> State | None:
    """The job of this submission id, or this program by its job id; None if unknown."""
    rows = list_jobs(address, limit=1_000_000, detail=True, timeout=timeout)
    return _one([row for row in rows if id in (row["submission_id"], row["job_id"])])


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
        _check_address(address)

    def list(
        self, resource: Any, options: Any = None, raise_on_missing_output: bool = True
    ) -> Sequence[State]:
        """The rows of a kind.

        Args:
            resource: "tasks", "actors", "objects", "workers", "nodes" or "jobs".
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


def _job_client() -> Any:
    from heliostat.job_submission import JobSubmissionClient  # noqa: PLC0415 - it imports much

    return JobSubmissionClient()


def get_task(id: Any, address: str | None = None, timeout: int = 30) -> Any:
    """The task of this id or ObjectRef; a list if it was tried several times, None if unknown."""
    del timeout
    wanted = id.hex()[:24] if isinstance(id, ray.ObjectRef) else str(id)
    rows = [row for row in records("tasks") if row["task_id"].startswith(wanted)]
    found = _rows(rows, address, None, 10_000, True)
    return found[0] if len(found) == 1 else found or None


def get_actor(id: str, address: str | None = None, timeout: int = 30) -> State | None:
    """The actor of this id, or None."""
    return _one(list_actors(address, [("actor_id", "=", id)], detail=True, timeout=timeout))


def get_worker(id: str, address: str | None = None, timeout: int = 30) -> State | None:
    """The worker process of this id, or None."""
    return _one(list_workers(address, [("worker_id", "=", id)], detail=True, timeout=timeout))


def get_node(id: str, address: str | None = None, timeout: int = 30) -> State | None:
    """The machine of this id, or None."""
    return _one(list_nodes(address, [("node_id", "=", id)], detail=True, timeout=timeout))


def get_placement_group(id: str, address: str | None = None, timeout: int = 30) -> State | None:
    """The placement group of this id, or None."""
    found = list_placement_groups(
        address, [("placement_group_id", "=", id)], detail=True, timeout=timeout
    )
    return _one(found)


def get_objects(id: str, address: str | None = None, timeout: int = 30) -> list[State]:
    """The object of this id, in a list; empty if it is not known."""
    return list_objects(address, [("object_id", "=", id)], detail=True, timeout=timeout)


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = 30,
) -> dict[str, list[str]]:
    """Names of what workers have printed, by kind; `get_log(filename=...)` reads one.

    They are no files: the last 64 KiB of each stream are kept in the driver's memory, also of the
    last 64 workers that have ended, until the session ends.

    Args:
        address: Accepted as None only: it is always this session.
        node_id: Accepted for Ray's sake: there is one machine.
        node_ip: Accepted for Ray's sake.
        glob_filter: Only names that match this pattern of the shell.
        timeout: Accepted for Ray's sake: the answer is immediate.

    Example:
        >>> from heliostat.util.state import list_logs
        >>> isinstance(list_logs(), dict)
        True
    """
    del node_id, node_ip, timeout
    _check_address(address)
    found: dict[str, list[str]] = {}
    for name, row in {_log_name(row): row for row in records("logs")}.items():
        if glob_filter is None or fnmatch.fnmatchcase(name, glob_filter):
            found.setdefault(f"worker_{row['stream']}", []).append(name)
    return found


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = 30,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[str]:
    """What a worker, actor or task has printed, in pieces; see `list_logs` for how much is kept.

    Args:
        address: Accepted as None only: it is always this session.
        node_id: Accepted for Ray's sake: there is one machine.
        node_ip: Accepted for Ray's sake.
        filename: A name from `list_logs`.
        actor_id: What this actor has printed.
        task_id: What this task has printed; not for calls of actors.
        pid: What this process has printed.
        follow: Go on with what it prints from now on, until the caller stops.
        tail: Only so many of the last lines; -1: all that are kept.
        timeout: Accepted for Ray's sake: the answer is immediate.
        suffix: "out" or "err".
        encoding: How to decode it; None gives bytes.
        errors: What to do with what cannot be decoded, as for `bytes.decode`.
        submission_id: The log of a job, as `JobSubmissionClient.get_job_logs` reads it.
        attempt_number: Only 0: attempts are not told apart.
        _interval: Seconds between two looks when following.
        filter_ansi_code: Leave colours out.

    Raises:
        ValueError: If not exactly one of the things to read is named, or it has printed nothing.

    Example:
        >>> import heliostat as ray
        >>> from heliostat.util.state import get_log
        >>> "".join(get_log(pid=1))
        Traceback (most recent call last):
        ...
        ValueError: nothing is kept of what pid=1 has printed to stdout; list_logs() has what is
    """
    del node_id, node_ip, timeout
    _check_address(address)
    chosen = {"filename": filename, "actor_id": actor_id, "task_id": task_id, "pid": pid,
              "submission_id": submission_id}  # fmt: skip
    named = {name: value for name, value in chosen.items() if value is not None}
    if len(named) != 1:
        raise ValueError(f"name exactly one of {', '.join(chosen)}; got {named or 'none of them'}")
    if suffix not in ("out", "err"):
        raise ValueError(f'suffix must be "out" or "err", got {suffix!r}')
    if attempt_number != 0:
        raise ValueError(f"attempt_number={attempt_number}: attempts are not told apart; use 0")
    if submission_id is not None:
        return iter([_job_client().get_job_logs(submission_id)])
    ((field, wanted),) = named.items()
    if not _log_lines(field, wanted, suffix):
        what = {"out": "stdout", "err": "stderr"}[suffix]
        raise ValueError(
            f"nothing is kept of what {field}={wanted} has printed to {what}; list_logs() has what is"
        )
    pieces = _pieces(field, wanted, suffix, tail, 0.5 if _interval is None else _interval, follow)
    return (_decoded(piece, encoding, errors, filter_ansi_code) for piece in pieces)


def _pieces(
    field: str, wanted: Any, suffix: str, tail: int, interval_s: float, follow: bool
) -> Iterator[bytes]:
    rows = _log_lines(field, wanted, suffix)
    if tail >= 0:
        rows = rows[len(rows) - tail :] if tail else []
    seen: dict[str, int] = {}
    while True:
        fresh = []
        for row in rows:
            end, known = row["start"] + len(row["data"]), seen.get(row["worker_id"], 0)
            if end > known:
                fresh.append(row["data"][max(0, known - row["start"]) :])
                seen[row["worker_id"]] = end
        if fresh:
            yield b"".join(fresh)
        if not follow:
            return
        time.sleep(interval_s)
        rows = _log_lines(field, wanted, suffix)


def _log_lines(field: str, wanted: Any, suffix: str) -> list[dict[str, Any]]:
    if field == "filename":
        return [row for row in records("logs") if _log_name(row) == wanted]
    return [row for row in records("logs") if row["stream"] == suffix and row[field] == wanted]


def _log_name(row: Mapping[str, Any]) -> str:
    return f"worker-{row['worker_id']}-{row['pid']}.{row['stream']}"


def _decoded(data: bytes, encoding: str | None, errors: str | None, plain: bool) -> Any:
    if plain:
        data = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", data)
    return data if encoding is None else data.decode(encoding, errors or "strict")


def _one(rows: list[State]) -> State | None:
    return rows[0] if rows else None


def summarize_tasks(address: str | None = None, timeout: int = 30) -> dict[str, Any]:
    """How many tasks of each name are in each state.

    Example:
        >>> from heliostat.util.state import summarize_tasks
        >>> sorted(summarize_tasks()["cluster"])
        ['summary', 'summary_by', 'total_actor_scheduled', 'total_actor_tasks', 'total_tasks']
    """
    rows = list_tasks(address, limit=1_000_000, timeout=timeout)
    summary: dict[str, Any] = {}
    for row in rows:
        entry = summary.setdefault(
            row["name"],
            {"func_or_class_name": row["name"], "type": row["type"], "state_counts": Counter()},
        )
        entry["state_counts"][row["state"]] += 1
    kinds = Counter(row["type"] for row in rows)
    return {
        "cluster": {
            "summary": _plain(summary, "state_counts"),
            "summary_by": "func_name",
            "total_tasks": kinds["NORMAL_TASK"],
            "total_actor_tasks": kinds["ACTOR_TASK"],
            "total_actor_scheduled": kinds["ACTOR_CREATION_TASK"],
        }
    }


def summarize_actors(address: str | None = None, timeout: int = 30) -> dict[str, Any]:
    """How many actors of each class are in each state."""
    rows = list_actors(address, limit=1_000_000, timeout=timeout)
    summary: dict[str, Any] = {}
    for row in rows:
        entry = summary.setdefault(
            row["class_name"], {"class_name": row["class_name"], "state_counts": Counter()}
        )
        entry["state_counts"][row["state"]] += 1
    return {
        "cluster": {
            "summary": _plain(summary, "state_counts"),
            "summary_by": "class",
            "total_actors": len(rows),
        }
    }


def summarize_objects(address: str | None = None, timeout: int = 30) -> dict[str, Any]:
    """How many objects there are, how many bytes they have, and how much of that is on disk."""
    rows = list_objects(address, limit=1_000_000, timeout=timeout)
    spilled = [row["object_size"] for row in rows if row["spilled"]]
    return {
        "cluster": {
            "summary_by": "all",
            "total_objects": len(rows),
            "total_size_mb": sum(row["object_size"] for row in rows) / 1e6,
            "spilled_objects": len(spilled),
            "spilled_size_mb": sum(spilled) / 1e6,
            "task_state_counts": dict(Counter(row["task_status"] for row in rows)),
            "pid": os.getpid(),
        }
    }


def _plain(summary: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: {**entry, field: dict(entry[field])} for key, entry in summary.items()}


def _rows(
    rows: Iterable[Mapping[str, Any]],
    address: str | None,
    filters: Sequence[Filter] | None,
    limit: int,
    detail: bool,
) -> list[State]:
    _check_address(address)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise ValueError(f"limit must be an int >= 1, got {limit!r}")
    found = [row for row in rows if all(_passes(row, *wanted) for wanted in filters or ())]
    return [
        State({name: value for name, value in row.items() if detail or name not in _DETAILS})
        for row in found[-limit:]
    ]


def _passes(row: Mapping[str, Any], field: str, predicate: str, value: Any) -> bool:
    if field not in row:
        raise ValueError(f"there is no field {field!r} to filter by; there are: {', '.join(row)}")
    have, wanted = str(row[field]).lower(), str(value).lower()
    if predicate == "contains":
        return wanted in have
    if predicate not in ("=", "!="):
        raise ValueError(f'a filter\'s predicate is "=", "!=" or "contains", got {predicate!r}')
    return (have == wanted) is (predicate == "=")


def _check_address(address: str | None) -> None:
    if address not in (None, "local", "auto"):
        raise NotImplementedError(
            f"address={address!r}: only this session can be asked; leave it out"
        )
