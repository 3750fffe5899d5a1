"""`heliostat list`, `get` and `summary`: rows about a session, as `heliostat.util.state` has them.

Knows the kinds of rows and how they look; what is in them is the session's affair.
"""

import argparse
import re
import sys
from typing import Any, NamedTuple

from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._sessions import ask, chosen, plain
from heliostat.cli._tables import cell, field, table, width, write_json
from heliostat.util._rows import select
from heliostat.util._summaries import of_actors, of_objects, of_tasks

_MOST = 100
_REMEMBERED = 10_000  # so many tasks that have ended a session remembers
_FILTER = re.compile(r"(?P<field>\w+)\s*(?P<predicate>!=|=|~)\s*(?P<value>.*)", re.DOTALL)


class Kind(NamedTuple):
    """A kind of row: what a session calls it, the field that names one, what a table shows."""

    wish: str
    id_field: str
    columns: tuple[str, ...]


KINDS = {
    "tasks": Kind("tasks", "task_id", ("task_id", "name", "state", "type", "worker_pid", "reason")),
    "actors": Kind("actors", "actor_id", ("actor_id", "class_name", "name", "state", "pid", "reason")),
    "objects": Kind(
        "objects", "object_id",
        ("object_id", "object_size", "task_status", "reference_type", "spilled", "held_by"),
    ),
    "workers": Kind("workers", "worker_id", ("pid", "actor", "runs", "resources", "reason")),
    "placement-groups": Kind(
        "placement_groups", "placement_group_id",
        ("placement_group_id", "name", "state", "strategy", "bundles", "reason"),
    ),
    "runtime-envs": Kind("runtime_envs", "", ("runtime_env", "success", "error")),
    "cluster-events": Kind("events", "event_id", ("time", "severity", "message")),
}  # fmt: skip
_SUMMARIES = ("tasks", "actors", "objects")


def add_parser(commands: Any) -> None:
    """Add `list`, `get` and `summary`."""
    rows = commands.add_parser(
        "list", help="tasks, actors, objects, workers ... of a running session"
    )
    rows.add_argument("kind", type=_kind, metavar="KIND", help=", ".join(KINDS))
    rows.add_argument(
        "-f", "--filter", action="append", default=[], metavar="FIELD=VALUE",
        help="only such rows; also FIELD!=VALUE, and FIELD~PART for what contains it",
    )  # fmt: skip
    rows.add_argument("--limit", type=int, default=_MOST, help="the newest rows only (%(default)s)")
    rows.add_argument("--detail", action="store_true", help="all fields")
    rows.set_defaults(carry_out=list_rows)
    one = commands.add_parser("get", help="one of them, with all its fields")
    one.add_argument("kind", type=_kind, metavar="KIND", help=", ".join(_with_names()))
    one.add_argument("id", metavar="ID", help="as `list` shows it, or its beginning; or a name")
    one.set_defaults(carry_out=get)
    counts = commands.add_parser("summary", help="how many there are in which state")
    counts.add_argument("kind", type=_kind, metavar="KIND", help=", ".join(_SUMMARIES))
    counts.set_defaults(carry_out=summary)
    for parser in (rows, one, counts):
        parser.add_argument("--pid", type=int, help="the driver process, if several run")
        parser.add_argument("--json", action="store_true", help="for programs")


def _kind(text: str) -> str:
    """The plural with dashes: `task` and `placement_groups` are understood."""
    name = text.lower().replace("_", "-").removesuffix("s") + "s"
    if name not in KINDS:
        raise argparse.ArgumentTypeError(f"there are {', '.join(KINDS)}; got {text!r}")
    return name


def _with_names() -> list[str]:
    return [name for name, kind in KINDS.items() if kind.id_field]


def list_rows(options: argparse.Namespace) -> int:
    """Print the rows that pass; the exit code."""
    kind = KINDS[options.kind]
    rows = ask(chosen(options.pid), kind.wish)
    if kind.wish == "objects":
        rows.sort(key=lambda row: row["object_size"])
    try:
        found = select(
            rows, None, [_filter(text) for text in options.filter], options.limit,
            options.detail, kind.columns,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error
    if kind.wish == "objects":
        found.reverse()
    if options.json:
        write_json([row.asdict() for row in found])
        return 0
    if not found:
        which = " that pass the filter" if options.filter else ""
        sys.stdout.write(f"no {options.kind.replace('-', ' ')}{which}\n")
        return 0
    columns = list(found[0]) if options.detail else kind.columns
    sys.stdout.write(table(found, columns, width()) + "\n")
    if len(found) == options.limit < len(rows):
        sys.stderr.write(f"(the newest {options.limit} of {len(rows)}; --limit shows more)\n")
    _say_what_is_forgotten(options.kind, rows)
    return 0


def _say_what_is_forgotten(kind: str, rows: list[dict[str, Any]]) -> None:
    ended = sum(row["state"] in ("FINISHED", "FAILED") for row in rows) if kind == "tasks" else 0
    if ended >= _REMEMBERED:
        sys.stderr.write(
            f"(of the tasks that have ended, the newest {ended:,} are remembered; "
            "`heliostat dashboard` keeps 100,000 from when it is opened)\n"
        )


def _filter(text: str) -> tuple[str, str, str]:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise UsageError(
            f"--filter is FIELD=VALUE, FIELD!=VALUE or FIELD~PART, as in state=RUNNING; got {text!r}"
        )
    predicate = {"~": "contains"}.get(match["predicate"], match["predicate"])
    return match["field"], predicate, match["value"]


def get(options: argparse.Namespace) -> int:
    """Print the row that is named; the exit code."""
    kind = KINDS[options.kind]
    if not kind.id_field:
        raise UsageError(f"{options.kind} have no names; there are: {', '.join(_with_names())}")
    rows = ask(chosen(options.pid), kind.wish)
    found = [row for row in rows if row[kind.id_field].startswith(options.id.lower())]
    if kind.wish == "workers" and not found:  # people know processes by their numbers
        found = [row for row in rows if str(row["pid"]) == options.id]
    said = "begins the ids of"
    if not found:
        found, said = [row for row in rows if row.get("name") == options.id], "is the name of"
    if not found:
        raise CommandError(
            f"there is no {options.kind.removesuffix('s')} {options.id!r}; "
            f"`heliostat list {options.kind}` shows those there are"
        )
    if len({row[kind.id_field] for row in found}) > 1:
        raise CommandError(f"{options.id!r} {said} {len(found)} {options.kind}; say more of the id")
    if options.json:
        write_json(found)
        return 0
    sys.stdout.write("\n\n".join(_fields(row) for row in found) + "\n")
    return 0


def _fields(row: dict[str, Any]) -> str:
    longest = max(map(len, row))
    return "\n".join(
        f"{plain(name):<{longest}}  {field(name, value)}".rstrip() for name, value in row.items()
    )


def summary(options: argparse.Namespace) -> int:
    """Print the counts of a kind; the exit code."""
    if options.kind not in _SUMMARIES:
        raise UsageError(f"there is a summary of {', '.join(_SUMMARIES)}; got {options.kind!r}")
    pid = chosen(options.pid)
    rows = ask(pid, options.kind)
    if options.kind == "objects":
        counts = of_objects(rows, ask(pid, "memory"))
    else:
        counts = of_tasks(rows) if options.kind == "tasks" else of_actors(rows)
    if options.json:
        write_json(counts)
        return 0
    _say_what_is_forgotten(options.kind, rows)
    named = counts.pop("summary", {})
    counts.pop("summary_by")
    sys.stdout.write("\n".join(f"{name}: {cell(value)}" for name, value in counts.items()) + "\n")
    if named:
        rows = [{"name": name, **entry["state_counts"]} for name, entry in named.items()]
        states = sorted({state for row in rows for state in row} - {"name"})
        sys.stdout.write(table(rows, ["name", *states], width()) + "\n")
    return 0
