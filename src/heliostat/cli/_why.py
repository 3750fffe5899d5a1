"""`heliostat why`: look into the sessions of this user that run now, from another shell.

Each session answers on an abstract Unix socket (see `_engines/local/output/window.py`) with one JSON
document; here it becomes text. Knows nothing else of sessions.
"""

import contextlib
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SOCKETS = Path("/proc/net/unix")
_MOST = 10  # rows of a kind


def why(pid: int | None, *, as_json: bool) -> int:
    """Print what the sessions do and what they wait for; the exit code.

    Args:
        pid: Only the session of this driver process.
        as_json: Print the documents as they are.
    """
    reports = list(_reports(pid))
    if as_json:
        sys.stdout.write(json.dumps(reports, indent=2) + "\n")
    elif not reports:
        whose = "no session runs" if pid is None else f"process {pid} has no session"
        sys.stdout.write(f"{whose} (of this user, on this machine)\n")
    else:
        sys.stdout.write("\n\n".join(map(describe, reports)) + "\n")
    return 0 if reports else 1


def _reports(pid: int | None) -> Iterator[dict[str, Any]]:
    name = re.compile(rf"@(heliostat-why-{os.getuid()}-(\d+))$", re.MULTILINE)
    found = {int(number): "\0" + path for path, number in name.findall(_SOCKETS.read_text())}
    for number in sorted(found):
        if pid in (None, number):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                yield json.loads(_read(found[number]))


def _read(name: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5.0)
        sock.connect(name)
        parts = []
        while part := sock.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def describe(report: dict[str, Any]) -> str:
    """A session's document as text.

    Example:
        >>> print(describe({"pid": 7, "program": "a.py", "seconds": 3, "resources": [],
        ...     "memory": {"used": 0, "on_disk": 0}, "waits": [], "tasks": [], "actors": [],
        ...     "workers": [], "objects": []}))
        process 7, a.py, for 3 s
          nothing runs and nothing waits
    """
    lines = [f"process {report['pid']}, {report['program']}, for {report['seconds']:.0f} s"]
    lines += [f"  {r['name']}: {r['free']:g} of {r['total']:g} free" for r in report["resources"]]
    lines += _memory(report["memory"])
    lines += _section("the driver waits, because", report["waits"])
    lines += _section("tasks", [f"{t['name']} {t['reason']}" for t in report["tasks"]])
    lines += _section("actors", map(_actor, report["actors"]))
    lines += _section("workers", map(_worker, report["workers"]))
    lines += _section("largest objects", map(_object, report["objects"]))
    if not (report["waits"] or report["tasks"]):
        lines.append("  nothing runs and nothing waits")
    return "\n".join(lines)


def _memory(row: dict[str, int]) -> list[str]:
    """How full shared memory is, if anything is in it or was."""
    if not row["used"] and not row["on_disk"]:
        return []
    text = f"  shared memory: {row['used'] / 1e6:,.1f} of {row['capacity'] / 1e6:,.1f} MB in use"
    return [f"{text}, {row['on_disk'] / 1e6:,.1f} MB on disk" if row["on_disk"] else text]


def _section(title: str, rows: Any) -> list[str]:
    texts = [_plain(row) for row in rows]
    if not texts:
        return []
    more = [f"    and {len(texts) - _MOST} more"] if len(texts) > _MOST else []
    return [f"  {title}", *(f"    {text}" for text in texts[:_MOST]), *more]


def _plain(text: str) -> str:
    """Names are the user's: no control characters of theirs reach the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _actor(row: dict[str, Any]) -> str:
    name = f" {row['name']!r}" if row["name"] else ""
    text = f"{row['class_name']}{name}: {row['state']}, process {row['pid']}"
    text += f", {row['num_pending_calls']} calls not ended"
    return f"{text}; {row['reason']}" if row["reason"] else text


def _worker(row: dict[str, Any]) -> str:
    who = f"actor {row['actor']}, " if row["actor"] else ""
    size = f"{row['rss'] / 1e6:.0f} MB" if row["rss"] else "starting"
    return f"process {row['pid']} ({size}): {who}{row['runs'] or 'idle'}"


def _object(row: dict[str, Any]) -> str:
    where = f"  {row['reason']}" if row["spilled"] else ""
    return f"{row['object_size'] / 1e6:,.1f} MB  {row['object_id']}{where}"
