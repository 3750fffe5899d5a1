"""/metrics: the session's state under Ray's metric names, and what users and libraries have recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import heliostat as ray
from heliostat.dashboard import _documents
from heliostat.runtime_context import records
from heliostat.util import metrics

KIND = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[dict[str, str], float]


class _Family(NamedTuple):
    name: str
    about: str
    samples: list[Sample]


def exposition() -> str:
    """All of it in Prometheus's text format."""
    return "".join(map(_text, _families())) + metrics.exposition()


def _families() -> Iterable[_Family]:
    session = ray.get_runtime_context().get_session_name()
    page = _documents.overview()
    memory, about = page["memory"], {"SessionName": session}
    yield _Family("ray_tasks", "Tasks that have not ended, by state.", _tasks(page["live"], about))
    actors = [({**about, "State": state}, float(n)) for state, n in page["actors"].items()]
    yield _Family("ray_actors", "Actors, by state.", actors)
    yield _Family("ray_resources", "Logical resources, by name and state.", _resources(page, about))
    yield _Family(
        "ray_object_store_memory",
        "Bytes of objects, by where they are.",
        [
            ({**about, "Location": "MMAP_SHM"}, float(memory["used"])),
            ({**about, "Location": "SPILLED"}, float(memory["on_disk"])),
        ],
    )
    fill = [
        ("ray_object_store_available_memory", memory["capacity"] - memory["used"]),
        ("ray_object_store_used_memory", memory["used"]),
    ]
    for name, value in fill:
        yield _Family(name, "Bytes of the budget for objects.", [(about, float(value))])
    groups = Counter(row["state"] for row in records("placement_groups"))
    states = [({**about, "State": state}, float(n)) for state, n in groups.items()]
    yield _Family("ray_placement_groups", "Placement groups, by state.", states)
    yield from _components(page, about)


def _tasks(live: list[dict[str, object]], about: dict[str, str]) -> list[Sample]:
    found = []
    for row in live:
        tags = {**about, "Name": str(row["name"]), "State": str(row["state"]), "IsRetry": "0"}
        found.append((tags, float(str(row["count"]))))
    return found


def _resources(page: dict[str, list[dict[str, float]]], about: dict[str, str]) -> list[Sample]:
    found: list[Sample] = []
    for row in page["resources"]:
        tags = {**about, "Name": str(row["name"])}
        found.append(({**tags, "State": "USED"}, row["used"]))
        found.append(({**tags, "State": "AVAILABLE"}, row["total"] - row["used"]))
    return found


def _components(page: dict[str, list[dict[str, object]]], about: dict[str, str]) -> list[_Family]:
    """Memory and processor time, added up by what the processes are for."""
    own: Counter[str] = Counter()
    cpu: Counter[str] = Counter()
    for row in page["processes"]:
        component = str(row["holds"]) if row["kind"] != "idle" else "ray::IDLE"
        own[component] += float(str(row["own_bytes"])) / 1e6  # type: ignore[assignment]
        cpu[component] += float(str(row["cpu_s"]))  # type: ignore[assignment]
    return [
        _Family(
            "ray_component_uss_mb",
            "Megabytes that processes have to themselves.",
            [({**about, "Component": name}, float(value)) for name, value in own.items()],
        ),
        _Family(
            "ray_component_cpu_seconds_total",
            "Processor time of processes that live.",
            [({**about, "Component": name}, float(value)) for name, value in cpu.items()],
        ),
    ]


def _text(family: _Family) -> str:
    kind = "counter" if family.name.endswith("_total") else "gauge"
    lines = [f"# HELP {family.name} {family.about}", f"# TYPE {family.name} {kind}"]
    for tags, value in family.samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in sorted(tags.items()))
        lines.append(f"{family.name}{{{inside}}} {value!r}")
    return "".join(f"{line}\n" for line in lines) if family.samples else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
