"""Report: a history as one HTML file, which needs nothing else: the same pages, with the facts inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from heliostat.dashboard import _history
from heliostat.dashboard._bundle import bundle
from heliostat.dashboard._history import Query
from heliostat.dashboard._session import PAGES, TABLES, Ended

MOST_ROWS = 2000


def write_report(run: str | None, path: Path) -> str:
    """Write the report of a run.

    Args:
        run: The name of its history; None: the newest.
        path: Where to.

    Returns:
        The run's name.

    Raises:
        ValueError: If there is no such run.
        OSError: If the file cannot be written.

    Example:
        >>> from pathlib import Path
        >>> write_report("nothing", Path("report.html"))
        Traceback (most recent call last):
        ...
        ValueError: there is no ...
    """
    found = _history.find(run)
    with _history.reading(found.path) as history:
        path.write_text(page(Ended(history)), encoding="utf-8")
    return found.name


def page(view: Ended) -> str:
    """The HTML."""
    about = view.page("session") or {}
    return bundle(f"{about.get('program', 'a program')} - Heliostat", facts(view)).text


def facts(view: Ended) -> dict[str, Any]:
    """All that the pages show: each page, the first rows of each table, and the logs."""
    tables: dict[str, Any] = {}
    for kind in TABLES:
        rows, total = view.table(kind, Query(most=MOST_ROWS))
        tables[kind] = {"rows": rows, "total": total}
    names = [row["name"] for row in view.page("logs")["rows"]]
    return {
        "pages": {name: view.page(name) for name in (*PAGES, "session", "series", "logs")},
        "tables": tables,
        "logs": {name: view.log(name, MOST_ROWS) for name in names},
    }
