"""What there is and what was, as rows for people and tools: tasks, actors, objects, workers. Pure.

Reads the tables of the Scheduler when somebody asks, and its list of what has ended.
"""

from __future__ import annotations

import heapq
import itertools
import json
import mmap
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from heliostat._core import runtime_env
from heliostat._core.options import THIS_NODE, UNIT
from heliostat._engines.local import failures
from heliostat._engines.local.messages import ERROR, OUT_OF_LINE, SPILLED, STORED, title
from heliostat._engines.local.scheduling.waits import Why, actor_of
from heliostat._parts import Part, counted, since

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.actors import Actor
    from heliostat._engines.local.scheduling.ownership import Entry
    from heliostat._engines.local.scheduling.scheduler import Scheduler
    from heliostat._engines.local.scheduling.tasks import Task

Row = dict[str, Any]

_STATES = {"waiting": "PENDING_ARGS_AVAIL", "ready": "PENDING_NODE_ASSIGNMENT"}
_ENDS = ("FINISHED", "FAILED", "FAILED")  # by `failure`: of the code, or of the system
_NAME_AND_END = itemgetter(1, 8)
_WHEN = "%Y-%m-%d %H:%M:%S"
_ACTOR_STATES = {"starting": "PENDING_CREATION", "alive": "ALIVE", "dead": "DEAD"}


class Records:
    """The rows of one moment.

    Args:
        scheduler: Whose tables to read.
        pids: The operating system's numbers of workers, of those that have ended too.
        now: The time, on the scheduler's clock.
        epoch: What to add to that clock's times for seconds since 1970.
        node_id: This machine.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        pids: Mapping[int, int],
        now: float,
        epoch: float,
        node_id: str,
    ) -> None:
        self._scheduler = scheduler
        self._pids = pids
        self._epoch = epoch
        self._node_id = node_id
        self._why = Why(scheduler, pids, now)

    def rows(self, kind: str, part: Part | None = None) -> list[Row]:
        """The rows of one kind; of those that may be very many, a part."""
        if kind in ("live_tasks", "ended_tasks", "ended_counts") or part is not None:
            parts = {
                "live_tasks": self._live_part, "ended_tasks": self._ended_part,
                "ended_counts": self._ended_counts, "objects": self._objects_part,
            }  # fmt: skip
            return parts[kind](part or Part())
        kinds: dict[str, Callable[[], list[Row]]] = {
            "tasks": self._tasks,
            "actors": self._actors,
            "objects": self._objects,
            "memory": self._memory,
            "workers": self._workers,
            "placement_groups": self._groups,
            "runtime_envs": self._environments,
            "events": self._events,
            "metrics": self._scheduler.staff.totals.rows,
            "counts": self._counts,
        }
        return kinds[kind]()

    def largest(self) -> str:
        """The largest objects in shared memory, in a sentence; empty if there are none."""
        sizes = sorted(
            (size_of(e.value) for e in self._scheduler.owned.objects.values() if stored(e.value)),
            reverse=True,
        )
        if not sizes:
            return ""
        shown = ", ".join(f"{size / 1e6:.1f} MB" for size in sizes[:3])
        return f"The largest of {len(sizes)} objects in shared memory: {shown}. "

    def report(self, waits: list[str], seconds: float) -> Row:
        """All of the session for a person: what runs or waits now, and the largest objects.

        Args:
            waits: What the driver waits for, in words.
            seconds: How long the session has lived.
        """
        resources = self._scheduler.resources
        objects = sorted(self._objects(), key=lambda row: -int(row["object_size"]))
        return {
            "pid": os.getpid(),
            "program": " ".join(sys.argv) or "python",
            "seconds": seconds,
            "resources": [
                {"name": name, "free": max(0, resources.free[name]) / UNIT, "total": units / UNIT}
                for name, units in resources.total.items()
                if name not in ("memory", "object_store_memory", *THIS_NODE)
            ],
            "memory": self._memory()[0],
            "waits": [*waits, *self._why.driver()],
            "tasks": self._live_tasks(),
            "actors": self._actors(),
            "workers": [{**row, "rss": _rss(row["pid"])} for row in self._workers()],
            "objects": [row for row in objects[:5] if row["object_size"]],
        }

    def _tasks(self) -> list[Row]:
        return [*map(self._ended_row, self._scheduler.ended), *self._live_tasks()]

    def _ended_row(self, row: tuple[Any, ...]) -> Row:
        id_, name, actor, parent, sent, proc, seconds, end, failure = row
        times = sent, end - seconds, end
        return self.task_row(id_, name, actor, parent, _ENDS[failure], proc, times)

    def _ended_part(self, part: Part) -> list[Row]:
        rows = since(self._scheduler.ended, itemgetter(0), bytes.fromhex(part.after), part.most)
        return [*map(self._ended_row, rows)]

    def _ended_counts(self, part: Part) -> list[Row]:
        """How many have ended by name and state; the tables are told to count, or no longer to."""
        scheduler = self._scheduler
        scheduler.ended, counts = counted(scheduler.ended, _NAME_AND_END, part)
        found: Counter[tuple[str, str]] = Counter()
        for (name, failure), count in counts.items():
            found[name, _ENDS[failure]] += count
        return [{"name": name, "state": s, "count": n} for (name, s), n in found.items()]

    def _live_part(self, part: Part) -> list[Row]:
        """Of the tasks that have not ended, the newest first; rows are made of the part alone."""
        wanted = {"": (), "RUNNING": ("running",)}.get(
            part.state, tuple(raw for raw, shown in _STATES.items() if shown == part.state)
        )
        tasks: Iterable[Task] = reversed(self._scheduler.tasks.values())
        chosen = (
            task
            for task in tasks
            if task.state != "done"
            and (not part.state or task.state in wanted)
            and part.name in task.name
        )
        return [
            self._live_task(task)
            for task in itertools.islice(chosen, part.start, part.start + part.most)
        ]

    def _counts(self) -> list[Row]:
        """How many tasks of each name have not ended, by state; RUNNING: a worker has them."""
        scheduler = self._scheduler
        found = Counter((task.name, task.state) for task in scheduler.tasks.values())
        for plain in scheduler.plain.calls.values():
            found[title(plain.actor.created.name, plain.called.method), "running"] += 1
        return [
            {"name": name, "state": _STATES.get(state, "RUNNING"), "count": count}
            for (name, state), count in found.items()
            if state != "done"
        ]

    def _live_tasks(self) -> list[Row]:
        tasks = self._scheduler.tasks.values()
        return [self._live_task(task) for task in tasks if task.state != "done"]

    def _live_task(self, task: Task) -> Row:
        state = _STATES.get(task.state, "RUNNING")
        proc = 0 if task.worker is None else task.worker.proc
        start = task.since if task.state == "running" else None
        if task.state == "running" and self._scheduler.staff.running_in(task.worker) is not task:
            actor = actor_of(self._scheduler, task)
            if actor is None or not actor.created.out_of_order:
                state, start = "SUBMITTED_TO_WORKER", None
        row = self.task_row(
            task.id, task.name, task.actor, task.parent, state, proc, times=(None, start, None)
        )
        row["required_resources"] = amounts(task.shape)
        row["reason"] = self._why.state(task)
        return row

    def task_row(
        self,
        id_: bytes,
        name: str,
        actor: bytes | None,
        parent: bytes | None,
        state: str,
        proc: int,
        times: tuple[float | None, float | None, float | None],
    ) -> Row:
        """A task, with Ray's names."""
        constructor = actor == id_
        kind = "ACTOR_CREATION_TASK" if constructor else "ACTOR_TASK" if actor else "NORMAL_TASK"
        created, start, end = times
        return {
            "task_id": id_.hex(),
            "name": name,
            "state": state,
            "type": kind,
            "func_or_class_name": name,
            "actor_id": actor.hex() if actor else None,
            "parent_task_id": parent.hex() if parent else "",
            "node_id": self._node_id,
            "worker_id": f"{proc:032x}" if proc else None,
            "worker_pid": self._pids.get(proc),
            "error_type": "TASK_EXECUTION_EXCEPTION" if state == "FAILED" else None,
            "creation_time_ms": self._ms(created),
            "start_time_ms": self._ms(start),
            "end_time_ms": self._ms(end),
        }

    def _ms(self, at: float | None) -> float | None:
        return None if at is None else (at + self._epoch) * 1000

    def _actors(self) -> list[Row]:
        return [self._actor(actor) for actor in self._scheduler.actors.actors.values()]

    def _actor(self, actor: Actor) -> Row:
        created = actor.created
        state = _ACTOR_STATES.get(actor.state, "DEPENDENCIES_UNREADY")
        if actor.state == "waiting" and actor.restarted:
            state = "RESTARTING"
        elif actor.state == "waiting" and actor.maker.state == "ready":
            state = "PENDING_CREATION"
        waits = actor.state in ("waiting", "starting")
        return {
            "actor_id": actor.id.hex(),
            "class_name": created.name,
            "state": state,
            "name": created.public_name,
            "ray_namespace": created.namespace,
            "node_id": self._node_id,
            "pid": self._pids.get(actor.worker or 0),
            "is_detached": created.detached,
            "required_resources": amounts(created.shape),
            "num_restarts": actor.made - 1,
            "num_pending_calls": actor.pending(),
            "death_cause": actor.reason or None,
            "reason": self._why.state(actor.maker) if waits else "",
        }

    def _groups(self) -> list[Row]:
        states = {"pending": "PENDING", "created": "CREATED"}
        return [
            {
                "placement_group_id": group.id.hex(),
                "name": group.grouped.name,
                "ray_namespace": group.grouped.namespace,
                "creator_job_id": self._node_id,
                "state": states.get(group.state, "REMOVED"),
                "bundles": [amounts(shape) for shape in group.grouped.bundles],
                "strategy": group.grouped.strategy,
                "is_detached": group.grouped.detached,
                "node_id": self._node_id,
                "reason": self._why.group(group) if group.state == "pending" else "",
            }
            for group in self._scheduler.groups.groups.values()
        ]

    def _environments(self) -> list[Row]:
        workers = self._scheduler.workers.values()
        return [
            runtime_env.row(
                json.loads(env.text),
                self._node_id,
                success=None if env.state == "preparing" else env.error is None,
                took_s=env.took_s,
                workers=sum(worker.env == env.key for worker in workers),
                error=None if env.error is None else failures.text(env.error),
            )
            for env in self._scheduler.environments.known.values()
        ]

    def _events(self) -> list[Row]:
        return [
            {
                "severity": incident.severity,
                "time": time.strftime(_WHEN, time.localtime(incident.at + self._epoch)),
                "source_type": "RAYLET",
                "message": incident.message,
                "event_id": f"{number:036x}",
                "custom_fields": {
                    "node_id": self._node_id,
                    "worker_id": f"{incident.proc:032x}",
                    "pid": self._pids.get(incident.proc),
                },
            }
            for number, incident in self._scheduler.staff.incidents
        ]

    def _objects(self) -> list[Row]:
        return self._object_rows(self._values())

    def _objects_part(self, part: Part) -> list[Row]:
        """The largest first."""
        found = heapq.nlargest(
            part.start + part.most, self._values(), key=lambda pair: size_of(pair[1].value)
        )
        return self._object_rows(found[part.start :])

    def _values(self) -> Iterator[tuple[bytes, Entry]]:
        scheduler = self._scheduler
        for id_, entry in scheduler.owned.objects.items():
            if id_ not in scheduler.actors.actors and id_ not in scheduler.groups.groups:
                yield id_, entry

    def _object_rows(self, found: Iterable[tuple[bytes, Entry]]) -> list[Row]:
        holders = self._scheduler.owned.holders()
        return [self._object(id_, entry, holders.get(id_, {})) for id_, entry in found]

    def _object(self, id_: bytes, entry: Entry, workers: Mapping[int, int]) -> Row:
        return {
            "object_id": id_.hex(),
            "object_size": size_of(entry.value),
            "task_status": self._object_state(entry.value, entry.task),
            "reference_type": "PINNED_IN_MEMORY" if stored(entry.value) else "LOCAL_REFERENCE",
            "spilled": spilled(entry.value),
            "reference_count": entry.count,
            "held_by": self._held_by(entry.count, workers),
            "node_id": self._node_id,
            "reason": self._where(id_, entry.value),
        }

    def _held_by(self, count: int, workers: Mapping[int, int]) -> list[str]:
        """The processes that keep an object; what no worker holds, the driver or what waits does."""
        said = [f"process {self._pids.get(proc)}" for proc in workers]
        return [*said, "driver"] if count > sum(workers.values()) else said

    def _memory(self) -> list[Row]:
        """One row: the budget, and how much of it and of the disk is in use."""
        memory = self._scheduler.storage.memory
        row = {
            "node_id": self._node_id,
            "capacity": memory.arena.capacity,
            "used": memory.arena.used,
            "on_disk": memory.disk.used,
            "waiting": len(memory.waiting),
        }
        return [row]

    def _where(self, id_: bytes, value: Any) -> str:
        """Why an object is not there, or not in memory."""
        if value is None:
            return self._why.reason(id_)
        return "on disk, because shared memory was full" if spilled(value) else ""

    def _object_state(self, value: Any, maker: bytes | None) -> str:
        if value is not None:
            return "FAILED" if value[0] == ERROR else "FINISHED"
        task = self._scheduler.tasks.get(maker) if maker is not None else None
        return "NIL" if task is None else _STATES.get(task.state, "RUNNING")

    def _workers(self) -> list[Row]:
        rows = []
        for worker in self._scheduler.workers.values():
            task = self._scheduler.staff.running_in(worker)
            busy = task is not None and task.state == "running"
            actor = self._scheduler.actors.actors.get(worker.actor or b"")
            rows.append(
                {
                    "worker_id": f"{worker.proc:032x}",
                    "is_alive": True,
                    "worker_type": "WORKER",
                    "pid": self._pids.get(worker.proc),
                    "node_id": self._node_id,
                    "ip": "127.0.0.1",
                    "actor": actor.created.name if actor is not None else None,
                    "runs": task.name if task is not None and busy else None,
                    "resources": amounts(worker.shape or ()),
                    "reason": self._why.state(task) if task is not None and busy else "idle",
                }
            )
        return rows


def _rss(pid: int | None) -> int:
    """Resident memory of a process in bytes; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0


def amounts(shape: tuple[tuple[str, int], ...]) -> dict[str, float]:
    """Resources in whole units."""
    return {name: units / UNIT for name, units in shape if units}


def stored(value: Any) -> bool:
    """Whether a value is in shared memory."""
    return value is not None and value[0] == STORED


def spilled(value: Any) -> bool:
    """Whether a value is on disk."""
    return value is not None and value[0] == SPILLED


def size_of(value: Any) -> int:
    """Bytes of a value; 0 if it is not there."""
    if value is None:
        return 0
    kind, head, parts, _ = value
    return int(sum(parts)) if kind in OUT_OF_LINE else len(head) + sum(map(len, parts))
