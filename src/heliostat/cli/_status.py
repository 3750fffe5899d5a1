"""`heliostat status`: a session in numbers. Knows what its report means."""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

from heliostat.cli._sessions import ask, chosen, plain, running
from heliostat.cli._tables import megabytes, write_json

Document = dict[str, Any]


def add_parser(commands: Any) -> None:
    """Add `status`."""
    parser = commands.add_parser("status", help="resources, tasks, actors and workers, in numbers")
    parser.add_argument("--pid", type=int, help="the driver process, if several run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=status)


def status(options: argparse.Namespace) -> int:
    """Print each session, or the one that is named; the exit code."""
    pids = list(running()) if options.pid is None else []
    documents = [numbers(ask(pid)) for pid in pids or [chosen(options.pid)]]
    if options.json:
        write_json(documents)
    else:
        sys.stdout.write("\n\n".join(map(describe, documents)) + "\n")
    return 0


def numbers(report: Document) -> Document:
    """A report without its rows."""
    return {
        **{
            name: report[name]
            for name in ("pid", "program", "seconds", "resources", "memory", "waits")
        },
        "tasks": Counter(task["state"] for task in report["tasks"]),
        "actors": Counter(actor["state"] for actor in report["actors"]),
        "workers": Counter("busy" if w["runs"] else "idle" for w in report["workers"]),
        "workers_rss": sum(worker["rss"] for worker in report["workers"]),
    }


def describe(document: Document) -> str:
    """The numbers as text."""
    memory_ = document["memory"]
    lines = [
        f"process {document['pid']}, {plain(document['program'])}, for {document['seconds']:.0f} s"
    ]
    lines += [
        f"  {plain(row['name'])}: {row['total'] - row['free']:g} of {row['total']:g} in use"
        for row in document["resources"]
    ]
    lines.append(
        f"  shared memory: {megabytes(memory_['used'])} of {megabytes(memory_['capacity'])} in use, "
        f"{megabytes(memory_['on_disk'])} on disk"
    )
    lines += [f"  {name}: {_counts(document[name])}" for name in ("tasks", "actors", "workers")]
    lines += [f"  the driver waits: {plain(wait)}" for wait in document["waits"][:3]]
    if document["memory"]["waiting"]:
        lines.append(f"  {memory_['waiting']} values wait for room in shared memory")
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {state}" for state, n in counts.items()) or "none"
