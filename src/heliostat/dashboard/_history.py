"""History: what a session did, in one SQLite file that is there when the session has ended.

`$HELIOSTAT_STATE_DIR`, or `heliostat` in `$XDG_STATE_HOME` or `~/.local/state`, holds `history/RUN.db`,
for this user only. A file is bounded, and so is their number. It knows no session.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from heliostat._state_folder import state_folder

KEPT_RUNS = 20
KEPT_TASKS = 100_000
KEPT_SAMPLES = 20_000
SHOWN_SAMPLES = 600

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}")
TASK_COLUMNS = (
    "task_id", "name", "state", "type", "actor_id", "worker_pid",
    "creation_time_ms", "start_time_ms", "end_time_ms", "duration_ms",
)  # fmt: skip
_SCHEMA = f"""
CREATE TABLE documents (name TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE samples (number INTEGER PRIMARY KEY, at REAL NOT NULL, json TEXT NOT NULL);
CREATE TABLE tasks (number INTEGER PRIMARY KEY, {", ".join(TASK_COLUMNS)});
"""


class Query(NamedTuple):
    """Which rows of a table, in which order; `of`: of which study."""

    start: int = 0
    most: int = 100
    sort: str = ""
    down: bool = True
    text: str = ""
    state: str = ""
    of: str = ""


class Run(NamedTuple):
    """A history that there is."""

    name: str
    path: Path
    changed_at: float


def folder() -> Path:
    """Where histories are; made if need be.

    Raises:
        PermissionError: If others can read or change what is in it.
    """
    return state_folder("history")


def runs() -> list[Run]:
    """All histories, the newest first.

    Example:
        >>> isinstance(runs(), list)
        True
    """
    found = []
    for path in folder().glob("*.db"):
        with contextlib.suppress(OSError):  # it is being deleted
            found.append(Run(path.stem, path, path.stat().st_mtime))
    return sorted(found, key=lambda run: (run.changed_at, run.name), reverse=True)


def find(name: str | None) -> Run:
    """The history of that name; the newest if it is None.

    Raises:
        ValueError: If there is none.
    """
    known = runs()
    for run in known:
        if name in (None, run.name):
            return run
    if not known:
        raise ValueError(
            "there is no history yet: a program that calls init(include_dashboard=True) writes one"
        )
    names = ", ".join(run.name for run in known[:5])
    raise ValueError(f"there is no run {name!r}; the newest are: {names}")


def prune() -> None:
    """Delete the oldest histories, and what SQLite keeps beside them."""
    for run in runs()[KEPT_RUNS:]:
        for path in (run.path, *(run.path.with_name(run.path.name + end) for end in _BESIDE)):
            path.unlink(missing_ok=True)


_BESIDE = ("-wal", "-shm", "-journal")


class History:
    """One history, to be written by one thread and read by any.

    Args:
        path: The file.
        new: Make it; else it is only read.

    Raises:
        OSError: If it cannot be made. What cannot be written later on is left out, and said once.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> history = History(Path(tempfile.mkdtemp()) / "a.db", new=True)
        >>> history.put("overview", {"cpus": 2})
        >>> history.get("overview")
        {'cpus': 2}
        >>> history.close()
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self.path = path
        if new:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            target = str(path)
        else:
            target = f"{path.absolute().as_uri()}?mode=ro"
        # One connection for all threads, one at a time: a transaction is of one of them.
        self._lock = threading.RLock()
        self._db = sqlite3.connect(target, uri=not new, check_same_thread=False)
        if new:
            try:
                self._db.executescript(_SCHEMA)
            except sqlite3.Error as error:
                self._db.close()
                raise OSError(f"{path} cannot be written: {error}") from error
            # A history that a crash of the machine cuts short is no loss; a slow disk would be.
            self._db.execute("PRAGMA synchronous=OFF")
        self._tasks = self._samples = 0
        self._torn = False  # something could not be written

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction; where the disk is full, it is left out, and the program goes on."""
        with self._lock:
            try:
                with self._db:
                    yield
            except sqlite3.Error as error:
                if not self._torn:
                    sys.stderr.write(
                        f"heliostat: the history {self.path} has gaps from now on: {error}\n"
                    )
                self._torn = True

    def put(self, name: str, document: Any) -> None:
        """Replace a document."""
        text = json.dumps(document, default=str)
        with self._writing():
            self._db.execute("REPLACE INTO documents VALUES (?, ?)", (name, text))

    def get(self, name: str) -> Any:
        """A document; None if there is none of that name."""
        found = self._all("SELECT json FROM documents WHERE name = ?", [name])
        return json.loads(found[0][0]) if found else None

    def names(self) -> list[str]:
        """Of the documents."""
        return [name for (name,) in self._all("SELECT name FROM documents ORDER BY name")]

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    def sample(self, at: float, values: dict[str, float]) -> None:
        """Add a moment's numbers; when there are too many, every other one goes."""
        with self._writing():
            self._db.execute(
                "INSERT INTO samples (at, json) VALUES (?, ?)", (at, json.dumps(values))
            )
        self._samples += 1
        if self._samples > KEPT_SAMPLES:
            with self._writing():
                self._db.execute("DELETE FROM samples WHERE number % 2 = 0")
                # Numbered anew, so that the next time takes every other one again.
                self._db.execute("UPDATE samples SET number = -(number + 1) / 2")
                self._db.execute("UPDATE samples SET number = -number")
            ((self._samples,),) = self._all("SELECT count(*) FROM samples")

    def samples(self) -> list[tuple[float, dict[str, float]]]:
        """Moments over the whole time, evenly chosen if there are many."""
        rows = self._all("SELECT at, json FROM samples ORDER BY number")
        count = len(rows)
        step = max(1, -(-count // SHOWN_SAMPLES))
        return [(at, json.loads(text)) for at, text in rows[(count - 1) % step :: step]]

    def add_tasks(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add tasks that have ended, with values for TASK_COLUMNS; the oldest go."""
        marks = ", ".join("?" * len(TASK_COLUMNS))
        columns = ", ".join(TASK_COLUMNS)
        with self._writing():
            self._db.executemany(f"INSERT INTO tasks ({columns}) VALUES ({marks})", rows)
        self._tasks += len(rows)
        if self._tasks > KEPT_TASKS * 1.1:
            with self._writing():
                self._db.execute(
                    "DELETE FROM tasks WHERE number <= (SELECT max(number) FROM tasks) - ?",
                    (KEPT_TASKS,),
                )
            self._tasks = KEPT_TASKS

    def tasks(self, query: Query) -> tuple[list[dict[str, Any]], int]:
        """Tasks that have ended, and how many there are of those that are asked for.

        Raises:
            ValueError: For a column that there is not.
        """
        sort = query.sort or "number"
        if sort not in (*TASK_COLUMNS, "number"):
            raise ValueError(f"there is no column {sort!r}; there are: {', '.join(TASK_COLUMNS)}")
        # The names of columns are ours; what users type is always a parameter.
        where, values = "WHERE (? = '' OR state = ?) AND (? = '' OR instr(lower(name), ?))", [
            query.state, query.state, query.text, query.text.lower(),
        ]  # fmt: skip
        ((total,),) = self._all(f"SELECT count(*) FROM tasks {where}", values)
        order = f"{sort} {'DESC' if query.down else 'ASC'}, number DESC"
        found = self._all(
            f"SELECT {', '.join(TASK_COLUMNS)} FROM tasks {where} ORDER BY {order} LIMIT ? OFFSET ?",
            [*values, query.most, query.start],
        )
        return [dict(zip(TASK_COLUMNS, row, strict=True)) for row in found], total

    def summary(self) -> list[dict[str, Any]]:
        """Tasks that have ended by name: how many, how many failed, and how long they took."""
        found = self._all(
            "SELECT name, type, count(*), sum(state = 'FAILED'), avg(duration_ms),"
            " max(duration_ms) FROM tasks GROUP BY name, type ORDER BY count(*) DESC LIMIT 200"
        )
        names = ("name", "type", "ended", "failed", "mean_ms", "longest_ms")
        return [dict(zip(names, row, strict=True)) for row in found]

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def reading(path: Path) -> contextlib.AbstractContextManager[History]:
    """A history to read, in a `with`."""

    @contextlib.contextmanager
    def opened() -> Iterator[History]:
        history = History(path)
        try:
            yield history
        finally:
            history.close()

    return opened()
