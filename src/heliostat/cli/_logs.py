"""`heliostat logs`: what workers have printed, as far as their session keeps it."""

import argparse
import sys
import time
from collections.abc import Iterable
from typing import Any

from heliostat.cli._errors import CommandError
from heliostat.cli._sessions import NoSession, ask, chosen
from heliostat.cli._tables import table, width, write_json

_PID_DIGITS = 7  # of the largest that Linux gives: an id of ours begins with any digit
_LOOK_S = 0.5

Row = dict[str, Any]


def add_parser(commands: Any) -> None:
    """Add `logs`."""
    parser = commands.add_parser("logs", help="what workers have printed; without a name: a list")
    parser.add_argument(
        "of",
        nargs="?",
        metavar="OF",
        help="a worker's process, or the beginning of a task's or actor's id",
    )
    parser.add_argument("--err", action="store_true", help="standard error only; else both")
    parser.add_argument("--tail", type=int, metavar="N", help="the last lines only")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--pid", type=int, help="the driver process, if several run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=logs)


def logs(options: argparse.Namespace) -> int:
    """Print what was printed, or who printed; the exit code."""
    pid = chosen(options.pid)
    if options.of is None:
        return _list_logs(ask(pid, "logs"), as_json=options.json)
    rows = _lines_of(ask(pid, "logs"), options.of, only_err=options.err)
    if not rows and not options.follow:
        raise CommandError(
            f"nothing is kept of what {options.of} has printed; `heliostat logs` lists who has"
        )
    if options.tail is not None:
        rows = rows[-options.tail :] if options.tail > 0 else []
    if options.json:
        write_json(rows)
        return 0
    told = _print_new(rows, {})
    try:
        while options.follow:
            time.sleep(_LOOK_S)
            told = _print_new(_lines_of(ask(pid, "logs"), options.of, only_err=options.err), told)
    except (KeyboardInterrupt, NoSession):  # whoever printed has ended, or we have
        pass
    return 0


def _list_logs(rows: Iterable[Row], *, as_json: bool) -> int:
    found: dict[Any, Row] = {}
    for row in rows:
        entry = found.setdefault(
            row["worker_id"], {"pid": row["pid"], "out": 0, "err": 0, "last_line": ""}
        )
        entry[row["stream"]] += 1
        entry["last_line"] = row["data"].rstrip("\n")
    if as_json:
        write_json(list(found.values()))
    elif found:
        sys.stdout.write(
            table(list(found.values()), ["pid", "out", "err", "last_line"], width()) + "\n"
        )
    else:
        sys.stdout.write("no worker has printed anything\n")
    return 0


def _lines_of(rows: Iterable[Row], of: str, *, only_err: bool) -> list[Row]:
    ids = () if of.isdigit() and len(of) <= _PID_DIGITS else ("task_id", "actor_id", "worker_id")
    return [
        row
        for row in rows
        if (not only_err or row["stream"] == "err")
        and (str(row["pid"]) == of or any((row[field] or "").startswith(of) for field in ids))
    ]


def _print_new(rows: Iterable[Row], told: dict[Any, tuple[int, int]]) -> dict[Any, tuple[int, int]]:
    """Print what was not told yet; where each stream is now: its last line, and how much of it."""
    told = dict(told)
    for row in rows:
        stream = row["worker_id"], row["stream"]
        start, length = told.get(stream, (-1, 0))
        if row["start"] < start:
            continue
        fresh = row["data"][length:] if row["start"] == start else row["data"]
        told[stream] = row["start"], len(row["data"])
        # Their colours are theirs, but nothing that writes elsewhere on the screen.
        sys.stdout.write("".join(c if c.isprintable() or c in "\n\t" else "?" for c in fresh))
    sys.stdout.flush()
    return told
