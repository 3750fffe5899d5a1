"""Documents: the facts behind each page, read from public names. Nothing is kept here.

A library that the program has not loaded is not loaded for a page about it.
"""

from __future__ import annotations

import mmap
import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import heliostat as ray
from heliostat.runtime_context import Part, records

Document = dict[str, Any]

_HERTZ = os.sysconf("SC_CLK_TCK")


def session(name: str, started_at: float) -> Document:
    """What program this is, and on what.

    Args:
        name: The run's.
        started_at: Seconds since 1970.
    """
    return {
        "run": name,
        "program": " ".join(sys.argv) or "python",
        "pid": os.getpid(),
        "python": platform.python_version(),
        "heliostat": ray.__version__,
        "host": platform.node(),
        "started_at": started_at,
        "session": ray.get_runtime_context().get_session_name(),
    }


def overview() -> Document:
    """Resources, memory, processes, and what there is to do."""
    total, free = ray.cluster_resources(), ray.available_resources()
    memory = next(iter(records("memory")), {"capacity": 0, "used": 0, "on_disk": 0, "waiting": 0})
    workers = processes()
    return {
        "resources": [
            {"name": name, "total": amount, "used": amount - free.get(name, 0.0)}
            for name, amount in total.items()
            if name not in ("memory", "object_store_memory") and not name.startswith("node:")
        ],
        "memory": memory,
        "processes": workers,
        "holders": holders(workers, memory),
        "live": records("counts"),
        "actors": dict(Counter(row["state"] for row in records("actors"))),
        "events": [
            {key: row[key] for key in ("severity", "time", "message")}
            for row in records("events")[-20:]
        ],
    }


def processes() -> list[Document]:
    """The driver and its workers, with the memory and processor time of each."""
    driver = {"pid": os.getpid(), "holds": "driver", "runs": "your program", "kind": "driver"}
    rows = [driver]
    for row in records("workers"):
        kind = "actor" if row["actor"] else "task" if row["runs"] else "idle"
        holds = row["actor"] or row["runs"] or "idle worker"
        runs = row["runs"] or ("waits for calls" if row["actor"] else "")
        rows.append({"pid": row["pid"], "holds": holds, "runs": runs, "kind": kind})
    return [{**row, **usage(row["pid"])} for row in rows]


def usage(pid: Any) -> Document:
    """Bytes that a process has to itself, bytes that it shares, and seconds of processor time."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (OSError, ValueError):  # it has ended, or is just being born
        return {"own_bytes": 0, "shared_bytes": 0, "cpu_s": 0.0}
    return {
        "own_bytes": (resident - shared) * mmap.PAGESIZE,
        "shared_bytes": shared * mmap.PAGESIZE,
        "cpu_s": (int(fields[11]) + int(fields[12])) / _HERTZ,
    }


def holders(workers: list[Document], memory: Mapping[str, int]) -> list[Document]:
    """Memory by who holds it: kinds of processes, and objects."""
    sums: dict[tuple[str, str], int] = {}
    for row in workers:
        key = (row["kind"], row["holds"])
        sums[key] = sums.get(key, 0) + row["own_bytes"]
    found = [{"kind": kind, "who": who, "bytes": size} for (kind, who), size in sums.items()]
    found.append({"kind": "objects", "who": "objects in shared memory", "bytes": memory["used"]})
    if memory["on_disk"]:
        found.append({"kind": "disk", "who": "objects on disk", "bytes": memory["on_disk"]})
    return sorted(found, key=lambda row: -int(row["bytes"]))


def jobs() -> Document:
    """This program, and the jobs that this machine knows."""
    from heliostat.util.state import list_jobs  # noqa: PLC0415 - it imports the job client

    kept = ("job_id", "submission_id", "type", "status", "entrypoint", "message")
    times = ("start_time", "end_time")
    rows = list_jobs(detail=True, limit=500)
    return {"rows": [{key: row[key] for key in (*kept, *times)} for row in reversed(rows)]}


def data() -> Document:
    """Executions of datasets, that run and that have ended."""
    found = _loaded("heliostat.data.executions")
    return {"rows": [] if found is None else found.list_executions()}


def train() -> Document:
    """Runs of trainers in this process."""
    found = _loaded("heliostat.train.runs")
    return {"rows": [] if found is None else found.list_runs()}


def tune() -> Document:
    """Studies of this process, each with its trials."""
    found = _loaded("heliostat.tune.experiments")
    return {"rows": [] if found is None else found.list_experiments()}


def serve() -> Document:
    """Applications, with what their replicas have answered so far."""
    found = _loaded("heliostat.serve.api")
    if found is None:
        return {"applications": []}
    status = found.status()
    answers = answered()
    return {
        "applications": [
            {
                "name": name,
                "status": str(app.status),
                "message": app.message,
                "deployed_at": app.last_deployed_time_s,
                "deployments": [
                    {
                        "name": own,
                        "status": str(one.status),
                        "why": str(one.status_trigger),
                        "message": one.message,
                        "replicas": {str(key): count for key, count in one.replica_states.items()},
                        **answers.get(f"{name}/{own}", {"requests": 0, "errors": 0}),
                    }
                    for own, one in app.deployments.items()
                ],
            }
            for name, app in status.applications.items()
        ]
    }


def answered() -> dict[str, Document]:
    """Requests, errors and latencies since the beginning, by application and deployment."""
    found: dict[str, Document] = {}
    for row in records("metrics"):
        name, tags = row["name"], row["tags"]
        if not name.startswith("serve_deployment_") or "deployment" not in tags:
            continue
        one = found.setdefault(
            f"{tags.get('application', '')}/{tags['deployment']}",
            {"requests": 0, "errors": 0, "boundaries": (), "buckets": []},
        )
        if name == "serve_deployment_request_counter":
            one["requests"] += row["values"][0]
        elif name == "serve_deployment_error_counter":
            one["errors"] += row["values"][0]
        elif name == "serve_deployment_processing_latency_ms":
            one["boundaries"], counts = row["boundaries"], row["values"][:-1]
            before = one["buckets"] or [0.0] * len(counts)
            one["buckets"] = [a + b for a, b in zip(before, counts, strict=True)]
    return found


def percentile(boundaries: tuple[float, ...], buckets: list[float], share: float) -> float | None:
    """The value below which a share of what was counted lies, as exact as the buckets are.

    Example:
        >>> percentile((10.0, 20.0), [5, 5, 0], 0.5)
        10.0
    """
    total = sum(buckets)
    if not total:
        return None
    wanted, seen, low = total * share, 0.0, 0.0
    for upper, count in zip(boundaries, buckets, strict=False):
        if seen + count >= wanted and count:
            return low + (upper - low) * (wanted - seen) / count
        seen, low = seen + count, upper
    return low  # beyond the last boundary nothing is known


def logs() -> Document:
    """What there is to read of what workers have printed."""
    from heliostat.util.state import list_logs  # noqa: PLC0415 - it imports the job client

    names = sorted(name for some in list_logs().values() for name in some)
    return {"rows": [{"name": name} for name in names]}


def log(name: str, lines: int) -> str:
    """The last lines of one.

    Raises:
        ValueError: If there is none of that name.
    """
    from heliostat.util.state import get_log  # noqa: PLC0415 - it imports the job client

    pieces = get_log(filename=name, suffix=name.rpartition(".")[2], tail=lines, errors="replace")
    return "".join(pieces)


def objects(start: int, most: int) -> list[Document]:
    """The largest objects."""
    return records("objects", Part(start=start, most=most))


def _loaded(module: str) -> Any:
    return sys.modules.get(module)
