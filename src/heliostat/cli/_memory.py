"""`heliostat memory`: what takes memory, and who holds it. Knows rows of objects and workers."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any

from heliostat.cli._processes import rss, who_is
from heliostat.cli._sessions import ask, chosen
from heliostat.cli._tables import megabytes, table, width, write_json

_MOST = 20

Document = dict[str, Any]


def add_parser(commands: Any) -> None:
    """Add `memory`."""
    parser = commands.add_parser("memory", help="what objects there are, how large, who holds them")
    parser.add_argument("--limit", type=int, default=_MOST, help="the largest only (%(default)s)")
    parser.add_argument("--pid", type=int, help="the driver process, if several run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=memory)


def memory(options: argparse.Namespace) -> int:
    """Print objects by size and processes by memory; the exit code."""
    pid = chosen(options.pid)
    objects = sorted(ask(pid, "objects"), key=lambda row: -int(row["object_size"]))
    (budget,) = ask(pid, "memory")
    workers = ask(pid, "workers")
    processes = [
        {"pid": pid, "rss": rss(pid), "who": "driver"},
        *({"pid": w["pid"], "rss": rss(w["pid"]), "who": who_is(w)} for w in workers),
    ]
    document = {
        "budget": budget,
        "held_by": _by_holder(objects),
        "objects": objects[: options.limit],
        "total_objects": len(objects),
        "processes": processes,
    }
    if options.json:
        write_json(document)
    else:
        sys.stdout.write(_memory_text(document) + "\n")
    return 0


def _where(row: Document) -> str:
    if row["spilled"]:
        return "on disk"
    if row["reference_type"] == "PINNED_IN_MEMORY":
        return "shared memory"
    return "the driver" if row["task_status"] in ("FINISHED", "FAILED") else "not there yet"


def _by_holder(objects: Iterable[Document]) -> dict[str, int]:
    held: Counter[str] = Counter()
    for row in objects:
        for holder in row["held_by"]:
            held[holder] += row["object_size"]
    return dict(held.most_common())


def _memory_text(document: Document) -> str:
    budget, objects = document["budget"], document["objects"]
    lines = [
        f"shared memory: {megabytes(budget['used'])} of {megabytes(budget['capacity'])} in use, "
        f"{megabytes(budget['on_disk'])} on disk, {budget['waiting']} values wait for room",
        "",
        f"objects: {document['total_objects']}",
    ]
    if objects:
        rows = [
            {
                "object_id": row["object_id"],
                "size": megabytes(row["object_size"]),
                "state": row["task_status"],
                "where": _where(row),
                "references": row["reference_count"],
                "held_by": row["held_by"],
            }
            for row in objects
        ]
        lines.append(table(rows, list(rows[0]), width()))
    if len(objects) < document["total_objects"]:
        lines.append(f"(the {len(objects)} largest; --limit shows more)")
    holders = [{"holder": name, "bytes": megabytes(n)} for name, n in document["held_by"].items()]
    if holders:
        lines += ["", "who holds how much (what several hold counts for each)"]
        lines.append(table(holders, ["holder", "bytes"], width()))
    shown = [{**row, "rss": megabytes(row["rss"])} for row in document["processes"]]
    lines += ["", "processes, with what they share", table(shown, ["pid", "rss", "who"], width())]
    return "\n".join(lines)
