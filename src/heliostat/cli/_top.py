"""`heliostat top`: who uses CPUs and memory, and what runs; anew every two seconds in a terminal."""

import argparse
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from heliostat.cli._processes import cpu_s, rss, who_is
from heliostat.cli._sessions import NoSession, ask, chosen
from heliostat.cli._status import describe, numbers
from heliostat.cli._tables import cut, megabytes, table, width, write_json

_GLANCE_S = 0.25  # over which a snapshot measures the use of CPUs
_LONGEST_S = 86_400
_FROM_THE_TOP, _CLEAR = "\x1b[H", "\x1b[J"

Document = dict[str, Any]


def add_parser(commands: Any) -> None:
    """Add `top`."""
    parser = commands.add_parser("top", help="who uses CPUs and memory; watches until Ctrl-C")
    parser.add_argument(
        "--interval", type=_seconds, default=2.0, metavar="S", help="seconds (%(default)s)"
    )
    parser.add_argument("--once", action="store_true", help="one look, as without a terminal")
    parser.add_argument("--pid", type=int, help="the driver process, if several run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=top)


def _seconds(text: str) -> float:
    """As an option says them."""
    with contextlib.suppress(ValueError):
        if 0.1 <= (seconds := float(text)) <= _LONGEST_S:
            return seconds
    raise argparse.ArgumentTypeError(f"0.1 to {_LONGEST_S:,} seconds, got {text!r}")


def top(options: argparse.Namespace) -> int:
    """Show the session again and again, or once; the exit code."""
    pid = chosen(options.pid)
    live = sys.stdout.isatty() and not (options.once or options.json)
    before = _used(ask(pid))
    pause = _GLANCE_S
    try:
        while True:
            time.sleep(pause)
            report = ask(pid)
            now = _used(report)
            document = _top(report, before, now)
            if options.json:
                write_json(document)
            else:
                _show(_top_lines(document), live=live)
            if not live:
                return 0
            before, pause = now, options.interval
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    except NoSession as error:  # it was there when we began
        if not live:
            raise
        sys.stdout.write(f"{error}\n")
    return 0


def _used(report: Document) -> dict[int, tuple[float, float]]:
    """When we looked, and seconds of CPU that each process has had by then."""
    pids = [report["pid"], *(worker["pid"] for worker in report["workers"])]
    return {pid: (time.monotonic(), cpu_s(pid)) for pid in pids}


def _top(report: Document, before: Mapping[int, Any], now: Mapping[int, Any]) -> Document:
    who = {report["pid"]: "driver", **{w["pid"]: who_is(w) for w in report["workers"]}}
    processes = []
    for pid, (at, has_s) in now.items():
        then, had_s = before.get(pid, (at, has_s))
        share = 100 * (has_s - had_s) / (at - then) if at > then else 0.0
        processes.append(
            {"pid": pid, "cpu_percent": round(share, 1), "rss": rss(pid), "who": who[pid]}
        )
    tasks = Counter((task["name"], task["state"]) for task in report["tasks"])
    return {
        **numbers(report),
        "processes": sorted(processes, key=lambda row: -row["cpu_percent"]),
        "tasks_by_name": [
            {"name": name, "state": state, "count": n} for (name, state), n in tasks.most_common()
        ],
    }


def _top_lines(document: Document) -> list[str]:
    processes = [
        {
            "pid": row["pid"],
            "cpu%": row["cpu_percent"],
            "rss": megabytes(row["rss"]),
            "who": row["who"],
        }
        for row in document["processes"]
    ]
    lines = [*describe(document).splitlines(), ""]
    lines += table(processes, ["pid", "cpu%", "rss", "who"], width()).splitlines()
    if document["tasks_by_name"]:
        lines.append("")
        names = document["tasks_by_name"]
        lines += table(names, ["count", "state", "name"], width()).splitlines()
    return lines


def _show(lines: list[str], *, live: bool) -> None:
    if not live:
        sys.stdout.write("\n".join(lines) + "\n")
        return
    size = os.get_terminal_size()  # of a terminal that does not know it: zeros
    columns, rows = size.columns or None, size.lines - 1 if size.lines else None
    fitting = [cut(line, columns) for line in lines[:rows]]
    # Each line clears what was right of it, and the last what was below: nothing flickers.
    sys.stdout.write(_FROM_THE_TOP + "\x1b[K\n".join(fitting) + "\x1b[K" + _CLEAR)
    sys.stdout.flush()
