"""Rows about a session, counted. Pure: `util.state` and the command line both have the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def of_tasks(rows: Iterable[Row]) -> dict[str, Any]:
    """How many tasks of each name are in each state.

    Example:
        >>> row = {"name": "f", "type": "NORMAL_TASK", "state": "RUNNING"}
        >>> of_tasks([row, row])["summary"]["f"]["state_counts"]
        {'RUNNING': 2}
    """
    summary: dict[str, Any] = {}
    kinds: Counter[str] = Counter()
    for row in rows:
        kinds[row["type"]] += 1
        entry = summary.setdefault(
            row["name"],
            {"func_or_class_name": row["name"], "type": row["type"], "state_counts": Counter()},
        )
        entry["state_counts"][row["state"]] += 1
    return {
        "summary": _plain(summary),
        "summary_by": "func_name",
        "total_tasks": kinds["NORMAL_TASK"],
        "total_actor_tasks": kinds["ACTOR_TASK"],
        "total_actor_scheduled": kinds["ACTOR_CREATION_TASK"],
    }


def of_actors(rows: Sequence[Row]) -> dict[str, Any]:
    """How many actors of each class are in each state."""
    summary: dict[str, Any] = {}
    for row in rows:
        entry = summary.setdefault(
            row["class_name"], {"class_name": row["class_name"], "state_counts": Counter()}
        )
        entry["state_counts"][row["state"]] += 1
    return {"summary": _plain(summary), "summary_by": "class", "total_actors": len(rows)}


def of_objects(rows: Sequence[Row], memory: Iterable[Row]) -> dict[str, Any]:
    """How many objects there are, how many bytes they have, and how much of that is on disk."""
    spilled = [row["object_size"] for row in rows if row["spilled"]]
    return {
        "summary_by": "all",
        "total_objects": len(rows),
        "total_size_mb": sum(row["object_size"] for row in rows) / 1e6,
        "spilled_objects": len(spilled),
        "spilled_size_mb": sum(spilled) / 1e6,
        "waiting_for_memory": sum(row["waiting"] for row in memory),
        "task_state_counts": dict(Counter(row["task_status"] for row in rows)),
    }


def _plain(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {**entry, "state_counts": dict(entry["state_counts"])}
        for key, entry in summary.items()
    }
