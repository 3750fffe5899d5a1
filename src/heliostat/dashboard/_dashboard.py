"""Dashboard: the server, what it shows, and which path is what."""

from __future__ import annotations

import datetime
import os
import re
import secrets
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import heliostat as ray
from heliostat.dashboard import _history
from heliostat.dashboard._history import History, Query
from heliostat.dashboard._prometheus import KIND, Exposition
from heliostat.dashboard._server import Answer, Server, as_json
from heliostat.dashboard._session import TABLES, Ended, Running, View
from heliostat.util.progress import keep_ended

MOST_ROWS = 500
MOST_LINES = 5000


class Dashboard:
    """Pages over one session, on a port of this machine, until it is closed. Made by `start`.

    Attributes:
        url: Where it is, with the secret in it.
        run: The name under which the history is kept.
    """

    def __init__(self, view: View, run: str, port: int | None, history: History) -> None:
        self.run = run
        self._view = view
        self._history = history
        self._closed = False
        self._exposition = Exposition()
        self._server = Server(port, secrets.token_urlsafe(24), self._route)
        self.url = self._server.url

    def close(self) -> None:
        """Stop, and write the history's end. Nothing if it was closed before."""
        if self._closed:
            return
        self._closed = True
        self._server.close()
        if isinstance(self._view, Running):
            self._view.close()
            keep_ended(False)
        self._history.close()

    def __repr__(self) -> str:
        return f"Dashboard(run={self.run!r}, port={self._server.port})"  # no secret in a log

    def _metrics(self) -> Answer | None:
        if not isinstance(self._view, Running):
            return None  # there is nothing to scrape
        return Answer(self._exposition.text(self._view.ended()).encode(), KIND)

    def _route(self, path: str, query: dict[str, str]) -> Answer | None:
        if path == "/metrics":
            return self._metrics()
        if path == "/grafana.json":
            return Answer(grafana().encode())
        top, _, rest = path.lstrip("/").partition("/")
        if top != "api":
            return None
        kind, _, name = rest.partition("/")
        if kind == "page":
            return _timed(lambda: self._view.page(name))
        if kind == "table" and name in TABLES:
            return _timed(lambda: _table(self._view, name, query))
        if kind == "log" and not name:
            lines = _number(query, "lines", 1000, MOST_LINES)
            return _timed(lambda: {"text": self._view.log(query.get("name", ""), lines)})
        if kind == "trace" and isinstance(self._view, Running):
            return as_json(ray.timeline())
        return None


def _timed(make: Any) -> Answer | None:
    """A document, and how long it took: the page asks less often for what is dear."""
    began = time.perf_counter()
    found = make()
    if found is None:
        return None
    return as_json({"took_s": time.perf_counter() - began, "is": found})


def _table(view: View, kind: str, query: dict[str, str]) -> dict[str, Any]:
    asked = Query(
        start=_number(query, "start", 0, 1 << 40),
        most=_number(query, "most", 100, MOST_ROWS),
        sort=query.get("sort", ""),
        down=query.get("down", "1") == "1",
        text=query.get("text", ""),
        state=query.get("state", ""),
        of=query.get("of", ""),
    )
    rows, total = view.table(kind, asked)
    return {"rows": rows, "total": total, "start": asked.start}


def _number(query: dict[str, str], name: str, usual: int, most: int) -> int:
    text = query.get(name, str(usual))
    if not re.fullmatch(r"\d{1,12}", text):
        raise ValueError(f"{name} must be a whole number from 0 on, got {text!r}")
    return min(int(text), most)


def grafana() -> str:
    """A dashboard for Grafana over what `/metrics` tells: to be imported there, or provisioned.

    Returns:
        JSON. `heliostat dashboard --grafana` writes it.

    Example:
        >>> import json
        >>> json.loads(grafana())["title"]
        'Heliostat'
    """
    return (files("heliostat.dashboard") / "grafana.json").read_text(encoding="utf-8")


def start(port: int | None = None) -> Dashboard:
    """Show the session of this process, which begins now if there is none.

    `heliostat.init(include_dashboard=True)` does so, and ends it with the session.

    Args:
        port: Where to listen, on loopback only; None takes the first free one from 8265 on.

    Returns:
        The dashboard, to be closed.

    Raises:
        OSError: If the port is taken.
        PermissionError: If others can read what histories there are.

    Example:
        >>> import heliostat as ray
        >>> from heliostat import dashboard
        >>> shown = dashboard.start()
        >>> shown.url.startswith("http://127.0.0.1:")
        True
        >>> shown.close()
    """
    started_at = time.time()
    keep_ended(True)
    _history.prune()
    run = _run_name(started_at)
    history = History(_history.folder() / f"{run}.db", new=True)
    view = Running(run, history, started_at)
    try:
        return Dashboard(view, run, port, history)
    except BaseException:
        view.close()
        history.close()
        history.path.unlink(missing_ok=True)
        raise


def show(run: str | None = None, port: int | None = None) -> Dashboard:
    """Show the history of a session.

    Args:
        run: Its name; None: the newest.
        port: Where to listen, as for `start`.

    Raises:
        ValueError: If there is none of that name.
    """
    found = _history.find(run)
    history = History(found.path)
    return Dashboard(Ended(history), found.name, port, history)


def _run_name(at: float) -> str:
    program = Path(sys.argv[0] or "python").stem if sys.argv else "python"
    plain = re.sub(r"[^A-Za-z0-9_]+", "-", program).strip("-")[:40] or "python"
    when = datetime.datetime.fromtimestamp(at).strftime("%Y%m%d-%H%M%S")
    return f"{when}-{plain}-{os.getpid()}-{secrets.token_hex(2)}"
