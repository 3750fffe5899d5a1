"""Report: a history as one HTML file, which needs nothing else: the same pages, with the facts inside."""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from heliostat.dashboard import _history
from heliostat.dashboard._history import Query
from heliostat.dashboard._server import finite
from heliostat.dashboard._session import PAGES, TABLES, Ended

MOST_ROWS = 2000
# In the order in which they need each other.
SCRIPTS = (
    "dom.js", "format.js", "source.js", "plot.js", "table.js", "parts.js",
    "pages/overview.js", "pages/core.js", "pages/data.js", "pages/train.js", "pages/tune.js",
    "pages/serve.js", "pages/logs.js", "pages/timeline.js", "app.js",
)  # fmt: skip
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "([^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)


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
    static = files("heliostat.dashboard") / "static"

    def read(name: str) -> str:
        return static.joinpath(*name.split("/")).read_text(encoding="utf-8")

    about = view.page("session") or {}
    title = html.escape(f"{about.get('program', 'a program')} - Heliostat")
    style = read("vendor/uPlot.min.css") + read("style.css")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:\">\n"
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f'<script type="application/json" id="facts">{_embedded(facts(view))}</script>\n'
        f"<script>{read('vendor/uPlot.iife.min.js')}</script>\n"
        f'<script type="module">\n{script(read)}\n</script>\n</body>\n</html>\n'
    )


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


def _embedded(value: Any) -> str:
    """JSON that cannot end the element that it is in."""
    return json.dumps(finite(value), default=str).replace("<", "\\u003c")


def script(read: Callable[[str], str]) -> str:
    """All modules as one, each in a scope of its own: their names are theirs.

    Args:
        read: Gives a module's text by its name.
    """
    parts = [_scoped(name, read(name)) for name in SCRIPTS]
    return "\n".join(["const modules = {};", *parts])


def _scoped(name: str, text: str) -> str:
    def brought(match: re.Match[str]) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
        return f'const {match[1]} = modules["{other}"];'

    given = ", ".join(_EXPORT.findall(text))
    body = re.sub(r"^export ", "", _IMPORT.sub(brought, text), flags=re.MULTILINE)
    return f'modules["{name}"] = (() => {{\n{body}\nreturn {{ {given} }};\n}})();'
