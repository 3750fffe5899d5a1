"""`heliostat why`: what the sessions of this user do and what they wait for, as text.

Knows what a session's report means, and nothing of how it is asked for (see `_sessions.py`).
"""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from heliostat.cli import _sessions
from heliostat.cli._sessions import plain
from heliostat.cli._tables import write_json

_MOST = 10  # rows of a kind


def add_parser(commands: Any) -> None:
    """Add `why`."""
    parser = commands.add_parser(
        "why", help="what your running sessions do, and what they wait for"
    )
    parser.add_argument(
        "pid", nargs="?", type=int, metavar="PID", help="only of this driver process"
    )
    parser.add_argument(
        "--pid", type=int, dest="named", metavar="PID", help="the same, as for other commands"
    )
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.set_defaults(carry_out=why)


def why(options: argparse.Namespace) -> int:
    """Print what the sessions do and what they wait for; the exit code."""
    # Two destinations: a position that is left out would overwrite what the option has said.
    pid = options.pid if options.named is None else options.named
    running = _sessions.running() if pid is None else {}
    reports = list(_reports(list(running) or [_sessions.chosen(pid)]))
    if options.json:
        write_json(reports)
    elif reports:
        sys.stdout.write("\n\n".join(map(describe, reports)) + "\n")
    return 0 if reports else 1


def _reports(pids: list[int]) -> Iterator[dict[str, Any]]:
    for pid in pids:
        try:
            yield _sessions.ask(pid)
        except _sessions.NoSession as error:
            sys.stderr.write(f"heliostat why: {error}\n")


def describe(report: dict[str, Any]) -> str:
    """A session's document as text.

    Example:
        >>> print(describe({"pid": 7, "program": "a.py", "seconds": 3, "resources": [],
        ...     "memory": {"used": 0, "on_disk": 0}, "waits": [], "tasks": [], "actors": [],
        ...     "workers": [], "objects": []}))
        process 7, a.py, for 3 s
          nothing runs and nothing waits
    """
    lines = [f"process {report['pid']}, {plain(report['program'])}, for {report['seconds']:.0f} s"]
    lines += [f"  {r['name']}: {r['free']:g} of {r['total']:g} free" for r in report["resources"]]
    lines += memory_line(report["memory"])
    lines += _section("the driver waits, because", report["waits"])
    lines += _section("tasks", [f"{t['name']} {t['reason']}" for t in report["tasks"]])
    lines += _section("actors", map(_actor, report["actors"]))
    lines += _section("workers", map(_worker, report["workers"]))
    lines += _section("largest objects", map(_object, report["objects"]))
    if not (report["waits"] or report["tasks"]):
        lines.append("  nothing runs and nothing waits")
    return "\n".join(lines)


def memory_line(row: dict[str, int]) -> list[str]:
    """How full shared memory is, if anything is in it or was; a line or none."""
    if not row["used"] and not row["on_disk"]:
        return []
    text = f"  shared memory: {row['used'] / 1e6:,.1f} of {row['capacity'] / 1e6:,.1f} MB in use"
    return [f"{text}, {row['on_disk'] / 1e6:,.1f} MB on disk" if row["on_disk"] else text]


def _section(title: str, rows: Any) -> list[str]:
    texts = [plain(row) for row in rows]
    if not texts:
        return []
    more = [f"    and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return [f"  {title}", *(f"    {text}" for text in texts[:_MOST]), *more]


def _actor(row: dict[str, Any]) -> str:
    name = f" {row['name']!r}" if row["name"] else ""
    where = f"process {row['pid']}" if row["pid"] else "no process yet"
    text = f"{row['class_name']}{name}: {row['state']}, {where}"
    text += f", {row['num_pending_calls']} calls not ended"
    return f"{text}; {row['reason']}" if row["reason"] else text


def _worker(row: dict[str, Any]) -> str:
    who = f"actor {row['actor']}, " if row["actor"] else ""
    size = f" ({row['rss'] / 1e6:.0f} MB)" if row["rss"] else ""
    process = f"process {row['pid']}{size}" if row["pid"] else "a process that starts"
    return f"{process}: {who}{row['runs'] or 'idle'}"


def _object(row: dict[str, Any]) -> str:
    where = f"  {row['reason']}" if row["spilled"] else ""
    return f"{row['object_size'] / 1e6:,.1f} MB  {row['object_id']}{where}"
