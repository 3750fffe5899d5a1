"""/metrics: the session's state under Ray's metric names, and what users and libraries have recorded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import heliostat as ray
from heliostat.dashboard import _documents
from heliostat.dashboard._machine import Machine
from heliostat.runtime_context import records
from heliostat.util import metrics

KIND = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]
Ended = Mapping[tuple[str, str], int]  # tasks that have ended, by name and state


class Family(NamedTuple):
    """A metric with its samples."""

    name: str
    about: str
    samples: list[Sample]


class Exposition:
    """What a scraper gets; rates are since it asked before."""

    def __init__(self) -> None:
        self._machine = Machine()
        self._cpu_s: dict[str, float] = {}
        self._cpu_at = time.monotonic()
        self._machine.look()

    def text(self, ended: Ended) -> str:
        """All of it in Prometheus's text format.

        Args:
            ended: How many tasks have ended so far.
        """
        return "".join(map(_text, self._families(ended))) + metrics.exposition()

    def _families(self, ended: Ended) -> Iterable[Family]:
        about = {"SessionName": ray.get_runtime_context().get_session_name()}
        page = _documents.overview()
        yield Family("ray_tasks", "Tasks, by state.", _tasks(page["live"], ended, about))
        actors = [({**about, "State": state}, float(n)) for state, n in page["actors"].items()]
        yield Family("ray_actors", "Actors, by state.", actors)
        resources = _resources(page, about)
        yield Family("ray_resources", "Logical resources, by name and state.", resources)
        yield from _memory(page["memory"], about)
        groups = Counter(row["state"] for row in records("placement_groups"))
        states = [({**about, "State": state}, float(n)) for state, n in groups.items()]
        yield Family("ray_placement_groups", "Placement groups, by state.", states)
        yield from self._components(page["processes"], about)
        node = {**about, "ip": "127.0.0.1", "IsHeadNode": "true", "RayNodeType": "head"}
        yield Family("ray_cluster_active_nodes", "Machines.", [(about, 1.0)])
        for name, value in self._machine.look().items():
            words = name.removeprefix("node_").replace("_", " ")
            yield Family(f"ray_{name}", f"Of the machine: {words}.", [(node, value)])
        yield from _datasets(_documents.data()["rows"], about)

    def _components(
        self, processes: list[dict[str, Any]], about: dict[str, str]
    ) -> Iterator[Family]:
        """Memory and processor time, added up by what the processes are for."""
        sums: dict[str, Counter[str]] = {
            name: Counter() for name in ("own_bytes", "shared_bytes", "cpu_s")
        }
        for row in processes:
            component = str(row["holds"]) if row["kind"] != "idle" else "ray::IDLE"
            for name, counter in sums.items():
                counter[component] += row[name]
        now = time.monotonic()
        elapsed = max(1e-3, now - self._cpu_at)
        own, shared, cpu = sums["own_bytes"], sums["shared_bytes"], sums["cpu_s"]
        share = {
            name: 100 * max(0.0, used - self._cpu_s.get(name, used)) / elapsed
            for name, used in cpu.items()
        }
        self._cpu_s, self._cpu_at = dict(cpu), now
        whole = {name: own[name] + shared[name] for name in own}
        mega = {name: value / 1e6 for name, value in own.items()}
        for name, text, values in (
            ("uss_mb", "Megabytes that processes have to themselves.", mega),
            ("uss_bytes", "Bytes that processes have to themselves.", own),
            ("rss_bytes", "Bytes of processes in memory, shared ones too.", whole),
            ("shared_bytes", "Bytes that processes share.", shared),
            ("cpu_percentage", "Of one processor, since the last scrape.", share),
            ("cpu_seconds_total", "Processor time of processes that live.", cpu),
        ):
            samples = [({**about, "Component": key}, float(value)) for key, value in values.items()]
            yield Family(f"ray_component_{name}", text, samples)


def _tasks(live: list[dict[str, Any]], ended: Ended, about: dict[str, str]) -> list[Sample]:
    counts = {(row["name"], row["state"]): row["count"] for row in live}
    return [
        ({**about, "Name": str(name), "State": str(state), "IsRetry": "0"}, float(count))
        for (name, state), count in [*counts.items(), *ended.items()]
    ]


def _memory(memory: dict[str, int], about: dict[str, str]) -> Iterator[Family]:
    places = {"MMAP_SHM": memory["used"], "SPILLED": memory["on_disk"]}
    samples = [({**about, "Location": where}, float(size)) for where, size in places.items()]
    yield Family("ray_object_store_memory", "Bytes of objects, by where they are.", samples)
    for name, value in (
        ("available", memory["capacity"] - memory["used"]),
        ("used", memory["used"]),
    ):
        text = "Bytes of the budget for objects."
        yield Family(f"ray_object_store_{name}_memory", text, [(about, float(value))])


def _resources(page: dict[str, Any], about: dict[str, str]) -> list[Sample]:
    found: list[Sample] = []
    for row in page["resources"]:
        tags = {**about, "Name": str(row["name"])}
        found.append(({**tags, "State": "USED"}, row["used"]))
        found.append(({**tags, "State": "AVAILABLE"}, row["total"] - row["used"]))
    return found


def _datasets(executions: list[dict[str, Any]], about: dict[str, str]) -> Iterator[Family]:
    """Operators of the datasets that run and, under a dashboard, of those that have ended."""
    for name, field, text in (
        ("output_rows", "rows_out", "Rows that an operator has made."),
        ("output_bytes", "bytes_out", "Bytes that an operator has made."),
        ("current_bytes", "held_bytes", "Bytes that an operator holds."),
        ("num_tasks_running", "running", "Tasks of an operator that run."),
        ("num_tasks_finished", "tasks", "Tasks of an operator that have ended."),
        ("rows_task_outputs_generated", "rows_out", "Rows that tasks have made."),
    ):
        samples = [
            ({**about, "dataset": f"{number}:{one['name']}", "operator": row["name"]}, row[field])
            for number, one in enumerate(executions)
            for row in one["operators"]
        ]
        yield Family(f"ray_data_{name}", text, samples)


def _text(family: Family) -> str:
    kind = "counter" if family.name.endswith("_total") else "gauge"
    lines = [f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {kind}"]
    for tags, value in family.samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(tags.items()))
        lines.append(f"{family.name}{{{inside}}} {value!r}")
    return "".join(f"{line}\n" for line in lines) if family.samples else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
