"""What the pages show: of the session that runs here, or of one that has ended. Two of a kind.

Both answer the same questions, so that there is one set of pages.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from heliostat.dashboard import _documents
from heliostat.dashboard._collector import Collector
from heliostat.dashboard._history import History, Query
from heliostat.runtime_context import Part, records
from heliostat.util._kept_logs import log_name

# What a history has of each: a page, whole.
PAGES = ("overview", "jobs", "data", "train", "tune", "serve")
TABLES = (
    "live_tasks",
    "ended_tasks",
    "summary",
    "actors",
    "objects",
    "workers",
    "placement_groups",
    "trials",
)
SHOWN_TRIALS = 1000  # by the page of a study; its table has all that are known
KEPT_LOG_LINES = 500
LARGEST = 1000  # objects that are listed: rows of a hundred thousand take seconds
KEPT_LOGS = 64

Rows = tuple[list[dict[str, Any]], int]


class View(Protocol):
    """A session, as pages see it."""

    def page(self, name: str) -> Any:
        """The document of a page; None for an unknown one."""

    def table(self, kind: str, query: Query) -> Rows:
        """Some rows of a table, and how many there are."""

    def log(self, name: str, lines: int) -> str:
        """The last lines of a log."""


class Running:
    """The session of this process.

    Args:
        name: Of the run.
        history: What is written down of it.
        started_at: Seconds since 1970.
    """

    def __init__(self, name: str, history: History, started_at: float) -> None:
        self._about = _documents.session(name, started_at)
        self._history = history
        history.put("session", {**self._about, "ended_at": None})
        self._collector = Collector(history, self._kept())

    def page(self, name: str) -> Any:
        """The document of a page."""
        pages = {
            "session": self._session,
            "series": lambda: columns(self._collector.moments.list()),
            "logs": _documents.logs,
            **{page: getattr(_documents, page) for page in PAGES},
            "tune": lambda: first_trials(_documents.tune()),
        }
        return pages[name]() if name in pages else None

    def table(self, kind: str, query: Query) -> Rows:
        """Some rows of a table."""
        if kind == "live_tasks":
            return _live_tasks(query)
        if kind in ("ended_tasks", "summary"):
            self._collector.catch_up()
            return kept_table(self._history, kind, query)
        if kind == "trials":
            return _trials(_documents.tune(), query)
        if kind == "objects":
            return choose(_documents.objects(0, LARGEST), query)
        return choose(records(kind), query)

    def log(self, name: str, lines: int) -> str:
        """The last lines of a log."""
        return _documents.log(name, lines)

    def ended(self) -> dict[tuple[str, str], int]:
        """How many tasks have ended by now, by name and state."""
        return self._collector.ended()

    def close(self) -> None:
        """Write down the end."""
        self._history.put("session", {**self._about, "ended_at": time.time()})
        self._collector.close()

    def _session(self) -> Any:
        return {**self._about, "now": time.time(), "ended_at": None}

    def _kept(self) -> dict[str, Any]:
        kept = {page: getattr(_documents, page) for page in PAGES}
        for kind in ("actors", "workers", "placement_groups"):
            kept[kind] = _first_rows(kind)
        kept["objects"] = lambda: _documents.objects(0, LARGEST)
        kept["live_tasks"] = lambda: _live_tasks(Query(most=1000))[0]
        kept["logs"] = _logs
        return kept


def _logs() -> Any:
    """All in one look at the session: it is taken while the session works."""
    texts: dict[str, list[bytes]] = {}
    for row in records("logs"):
        texts.setdefault(log_name(row), []).append(row["data"])
    names = sorted(texts)[-KEPT_LOGS:]
    ends = {name: b"".join(texts[name][-KEPT_LOG_LINES:]) for name in names}
    return {
        "rows": [{"name": name} for name in names],
        "texts": {name: text.decode(errors="replace") for name, text in ends.items()},
    }


def _first_rows(kind: str) -> Any:
    return lambda: records(kind)[-5000:]


class Ended:
    """A session that has ended, or one of another process, as far as it is written down."""

    def __init__(self, history: History) -> None:
        self._history = history

    def page(self, name: str) -> Any:
        """The document of a page."""
        if name == "series":
            return columns(self._history.samples())
        found = self._history.get(name)
        if name == "logs":
            return {"rows": [] if found is None else found["rows"]}
        if name == "tune" and found is not None:
            return first_trials(found)
        return found if name in (*PAGES, "session") else None

    def table(self, kind: str, query: Query) -> Rows:
        """Some rows of a table."""
        return kept_table(self._history, kind, query)

    def log(self, name: str, lines: int) -> str:
        """The last lines of a log."""
        texts = (self._history.get("logs") or {"texts": {}})["texts"]
        if name not in texts:
            raise ValueError(f"nothing is kept of {name!r}")
        return "".join(texts[name].splitlines(keepends=True)[-lines:])


def kept_table(history: History, kind: str, query: Query) -> Rows:
    """Some rows of a table that is written down.

    Raises:
        ValueError: For an unknown column.
    """
    if kind == "ended_tasks":
        return history.tasks(query)
    if kind == "summary":
        return choose(history.summary(), query)
    if kind == "trials":
        return _trials(history.get("tune") or {"rows": []}, query)
    return choose(history.get(kind) or [], query)


def first_trials(page: dict[str, Any]) -> dict[str, Any]:
    """Studies with no more trials than their page draws.

    Example:
        >>> first_trials({"rows": [{"trials": [1]}]})
        {'rows': [{'trials': [1]}]}
    """
    return {"rows": [{**row, "trials": row["trials"][:SHOWN_TRIALS]} for row in page["rows"]]}


def _trials(page: dict[str, Any], query: Query) -> Rows:
    """Trials of the study that is asked for; of all if none is."""
    rows = []
    for study in page["rows"]:
        if query.of in ("", study["path"]):
            rows += [{**flat(trial), "study": study["path"]} for trial in study["trials"]]
    return choose(rows, query)


def flat(trial: dict[str, Any]) -> dict[str, Any]:
    """A trial with what tables sort by at its top; its curve is for plots."""
    row = {name: value for name, value in trial.items() if name != "curve"}
    for group in ("metrics", "config"):
        row.update({f"{group}.{name}": value for name, value in trial[group].items()})
    return row


def _live_tasks(query: Query) -> Rows:
    """Of the tasks that have not ended, the newest first: a hundred thousand are not made rows."""
    counts = [
        row["count"]
        for row in records("counts")
        if query.text in row["name"] and query.state in ("", row["state"])
    ]
    part = Part(start=query.start, most=query.most, name=query.text, state=query.state)
    return records("live_tasks", part), sum(counts)


def choose(rows: Sequence[dict[str, Any]], query: Query) -> Rows:
    """Of these rows, those that are asked for.

    Raises:
        ValueError: For an unknown column.

    Example:
        >>> choose([{"name": "a"}, {"name": "b"}], Query(sort="name", most=1))
        ([{'name': 'b'}], 2)
    """
    found: Iterable[dict[str, Any]] = rows
    if query.state:
        found = (row for row in found if row.get("state") == query.state)
    if query.text:
        wanted = query.text.lower()
        found = (row for row in found if any(wanted in str(v).lower() for v in row.values()))
    chosen = list(found)
    if query.sort:
        if rows and not any(query.sort in row for row in rows):
            raise ValueError(
                f"there is no column {query.sort!r}; there are: {', '.join(map(str, rows[0]))}"
            )
        chosen.sort(key=lambda row: _rank(row.get(query.sort)), reverse=query.down)
    return chosen[query.start : query.start + query.most], len(chosen)


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers before texts, and what is not there last when it goes down."""
    if isinstance(value, (int, float)) and value == value:
        return 1, float(value), ""
    return (0, 0.0, "") if value is None or value != value else (2, 0.0, str(value))


def columns(moments: Sequence[tuple[float, dict[str, float]]]) -> dict[str, Any]:
    """Moments as plots want them: the times, and a list of values for each name.

    Example:
        >>> columns([(1.0, {"a": 2}), (2.0, {})])
        {'at': [1.0, 2.0], 'values': {'a': [2, None]}}
    """
    names = dict.fromkeys(name for _, values in moments for name in values)
    return {
        "at": [at for at, _ in moments],
        "values": {name: [values.get(name) for _, values in moments] for name in names},
    }
