"""`heliostat timeline`: what ran when in a session, as a Chrome trace."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from heliostat.cli._errors import CommandError
from heliostat.cli._sessions import ask, chosen
from heliostat.cli._tables import write_json


def add_parser(commands: Any) -> None:
    """Add `timeline`."""
    parser = commands.add_parser("timeline", help="what ran when, for ui.perfetto.dev")
    parser.add_argument("-o", "--output", metavar="FILE", help="(heliostat-timeline-PID.json)")
    parser.add_argument("--pid", type=int, help="the driver process, if several run")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=timeline)


def timeline(options: argparse.Namespace) -> int:
    """Write the trace into a file, or with --json to standard output; the exit code."""
    from heliostat._core.context import trace  # noqa: PLC0415 - other commands do without

    pid = chosen(options.pid)
    events = trace(ask(pid, "tasks"), time.time() * 1000)
    if options.json:
        write_json(events)
        return 0
    file = Path(options.output or f"heliostat-timeline-{pid}.json")
    try:
        file.write_text(json.dumps(events))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from error
    still = sum(event["args"]["state"] == "RUNNING" for event in events)
    sys.stdout.write(
        f"{file}: {len(events)} tasks, {still} still running; open it in https://ui.perfetto.dev\n"
    )
    return 0
