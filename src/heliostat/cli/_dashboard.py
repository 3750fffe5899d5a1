"""`heliostat dashboard` and `heliostat report`: what a session does, or did, in a browser or a file."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliostat.cli import _sessions
from heliostat.cli._errors import CommandError


class NoHistory(CommandError):
    """There is nothing to show, or no place for it."""


def add_parser(commands: Any) -> None:
    """Add both verbs to the command line."""
    shown = commands.add_parser(
        "dashboard", help="a running program's pages, or the history of one that has ended"
    )
    shown.add_argument("run", nargs="?", metavar="RUN", help="the history of this run")
    shown.add_argument("--pid", type=int, help="the program that runs as this process")
    shown.add_argument("--list", action="store_true", help="which runs there are, the newest first")
    shown.add_argument("--port", type=int, help="where to show a history; 8265 if it is free")
    shown.add_argument("--grafana", action="store_true", help="a dashboard for Grafana, as JSON")
    shown.add_argument("--json", action="store_true", help="the answer as JSON")
    shown.set_defaults(carry_out=dashboard)
    report_ = commands.add_parser("report", help="the history of a run as one HTML file")
    report_.add_argument("run", nargs="?", metavar="RUN", help="which; the newest if left out")
    report_.add_argument("-o", "--output", metavar="FILE", help="where to; RUN.html if left out")
    report_.add_argument("--json", action="store_true", help="the answer as JSON")
    report_.set_defaults(carry_out=report)


def dashboard(options: argparse.Namespace) -> int:
    """Say where a running program's pages are, or show a history until interrupted."""
    if options.grafana:
        sys.stdout.write(_pages().grafana())
        return 0
    if options.list:
        return _list(as_json=options.json)
    if options.pid is not None or (options.run is None and _sessions.running()):
        told = _sessions.ask(_sessions.chosen(options.pid), "dashboard")
        _print(told, f"{told['run']} is at {told['url']}", options.json)
        return 0
    pages = _shown(lambda: _pages().show(options.run, options.port))
    try:
        _print({"run": pages.run, "url": pages.url}, f"{pages.run} is at {pages.url}", options.json)
        _until_interrupted()
    finally:
        pages.close()
    return 0


def report(options: argparse.Namespace) -> int:
    """Write a report."""
    name = _shown(lambda: _pages().find(options.run)).name
    path = Path(options.output or f"{name}.html")
    _shown(lambda: _pages().write_report(name, path))
    _print({"run": name, "file": str(path)}, f"{name} is written to {path}", options.json)
    return 0


def _pages() -> Any:
    from heliostat import dashboard as pages  # noqa: PLC0415 - for these verbs only

    return pages


def _shown(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (OSError, OverflowError, ValueError) as error:
        raise NoHistory(str(error)) from error


def _list(*, as_json: bool) -> int:
    runs = _shown(_pages().runs)
    rows = [{"run": run.name, "changed_at": run.changed_at} for run in runs]
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(r.changed_at))}  {r.name}" for r in runs
    ]
    none = "no history yet: a program that calls init(include_dashboard=True) writes one"
    _print(rows, "\n".join(lines) or none, as_json)
    return 0


def _print(value: Any, text: str, as_json: bool) -> None:
    import json  # noqa: PLC0415 - for this verb only

    sys.stdout.write((json.dumps(value) if as_json else text) + "\n")
    sys.stdout.flush()


def _until_interrupted() -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
