"""Progress for people: one live line per piece of work in a terminal or notebook, plain ones in a log.

The driver's side of it: a thread that paints while lines are open, the stream, the terminal's
size, and the user's own prints, which go above the live lines. What is written is decided in
`_progress_text.py`. This file does not know what the lines are about, nor any engine; a worker
process is known by `HELIOSTAT_WORKER=1` in its environment and shows nothing. A `Ledger` is the same
for programs that look: rows about what runs.
"""

import atexit
import errno
import io
import itertools
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TextIO

from heliostat.util._progress_text import Form, Live, Notebook, Plain, View

__all__ = ["Ledger", "Line", "in_notebook", "keep_ended", "line"]

PAINT_EVERY_S = 0.1
# A program that prints in a tight loop should not pay for a frame per print.
REPAINT_AFTER_PRINT_S = 0.03


def line(name: str, unit: str = "rows", total: float | None = None) -> "Line":
    """Show how far a piece of work has come, for as long as the `with` block runs.

    In a terminal the line is live, and any number of lines may be open at once, also from
    several threads; in a notebook they are an output of the cell. Elsewhere a plain line is written
    now and then. Work that ends at once
    shows nothing. Nothing is ever shown in worker processes or when `HELIOSTAT_PROGRESS=0`.

    Args:
        name: What the work is, in a few words.
        unit: What is counted, in the plural.
        total: How much there will be, if known.

    Returns:
        A context manager with `update(done, total=None, note="")`.

    Example:
        >>> from heliostat.util import progress
        >>> with progress.line("Count sheep", unit="sheep", total=3) as sheep:
        ...     for n in range(3):
        ...         sheep.update(n + 1)
    """
    return Line(name, unit, total)


class Line:
    """One piece of work that is being shown. Made by `line`."""

    def __init__(self, name: str, unit: str, total: float | None) -> None:
        self._key = next(KEYS)
        self._name = name
        self._unit = unit
        self._started = 0.0
        # Says what to show below the line in a terminal, on the painter's thread.
        self.below: Callable[[], Sequence[str]] | None = None
        # One tuple, replaced as a whole: the painter never sees half an update.
        self._state: tuple[float, float | None, str] = (0, total, "")

    def update(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say where the work stands. Costs a fraction of a microsecond; nothing is written here.

        Args:
            done: How much is done, counted from the start.
            total: How much there will be; None keeps what was said before.
            note: A few words to show beside the count, such as the latest metric.
        """
        self._state = (done, self._state[1] if total is None else total, note)

    def view(self, outcome: str = "") -> View:
        """The line at this moment."""
        said = (*self._state, outcome, self.below)
        return View(self._key, self._name, self._unit, self._started, *said)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if not _silent():
            _painter.open(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            outcome = "done"
        elif issubclass(kind, Exception):
            outcome = f"failed with {kind.__name__}"
        else:
            outcome = "stopped"
        _painter.close(self, outcome)


Row = dict[str, Any]
# What makes the row of one that runs, and when it began by the clock of the wall and by the other.
Entry = tuple[Callable[[bool], Row], float, float]


class Ledger:
    """Rows about pieces of work that run, and about the last that have ended.

    How one was at its end is kept between `keep_ended(True)` and `keep_ended(False)` only. Who is in
    a hurry puts an entry into `running` under one of KEYS, and takes it out, as `entry` does.

    Args:
        kept: How many of those that have ended.

    Example:
        >>> from heliostat.util.progress import Ledger
        >>> ledger = Ledger(kept=10)
        >>> with ledger.entry(lambda over: {"sheep": 1, "over": over}):
        ...     [(row["sheep"], row["over"]) for row in ledger.rows()]
        [(1, False)]
    """

    kept_everywhere = False

    def __init__(self, kept: int) -> None:
        self.running: dict[int, Entry] = {}
        self._ended: deque[Row] = deque(maxlen=kept)

    @contextmanager
    def entry(self, row: Callable[[bool], Row]) -> Iterator[None]:
        """Show a piece of work for as long as the `with` lasts, and how it was at its end.

        Args:
            row: Makes its row, and is told whether it is over; called by other threads, too. When
                it began and how long it has taken is added.
        """
        number = next(KEYS)
        self.running[number] = row, time.time(), time.monotonic()
        try:
            yield
        finally:
            if Ledger.kept_everywhere:
                self.keep(number)
            del self.running[number]

    def keep(self, number: int) -> None:
        """How one is at its end, which is now."""
        self._ended.append(_row(self.running[number], True))

    def rows(self) -> list[Row]:
        """Those that have ended, then those that run, the oldest first."""
        ended, running = list(self._ended), list(self.running.values())
        return [*ended, *(_row(one, False) for one in running)]


def _row(entry: Entry, over: bool) -> Row:
    made, started_at, began = entry
    return {**made(over), "started_at": started_at, "seconds": time.monotonic() - began}


def keep_ended(wanted: bool) -> None:
    """Whether every ledger keeps what ends from now on, because somebody will look.

    Args:
        wanted: Whether.
    """
    Ledger.kept_everywhere = wanted


class Painter:
    """Owns the stream while lines are open. Its thread lives exactly as long."""

    def __init__(self) -> None:
        # Re-entrant: a signal handler may print while its own thread is painting.
        self._lock = threading.RLock()
        self._open: dict[Line, None] = {}
        self._form: Form = Plain()
        self._stream: TextIO | _Output = sys.__stderr__ or io.StringIO()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._painted_at = 0.0
        self._replaced: list[tuple[str, TextIO, _Above]] = []

    def open(self, line: Line) -> None:
        with self._lock:
            if not self._open:
                self._begin()
            self._open[line] = None

    def close(self, line: Line, outcome: str) -> None:
        with self._lock:
            if line not in self._open:
                return
            del self._open[line]
            # Painted here and not in the thread, so that it stands before what the user
            # prints next.
            self._paint([line.view(outcome)])
            if self._open:
                return
            self._end()
            thread = self._thread
        # Outside the lock, which the thread may be waiting for. A signal handler may hold it
        # further up this very stack, therefore not for ever.
        if thread:
            thread.join(timeout=1)

    def write_above(self, stream: TextIO, text: str) -> None:
        """Write whole lines of the user's output above the live region."""
        with self._lock:
            self._write(self._form.wipe())
            stream.write(text)
            stream.flush()
            if time.monotonic() - self._painted_at > REPAINT_AFTER_PRINT_S:
                self._paint([])

    def shut(self) -> None:
        """Leave the terminal in order; lines that are still open end here."""
        for line in list(self._open):
            self.close(line, "stopped")

    def forget(self) -> None:
        """In a child made by fork: the parent goes on painting, the child has plain streams."""
        for name, stream, _ in self._replaced:
            setattr(sys, name, stream)

    def _begin(self) -> None:
        stream = sys.stderr
        live = _is_terminal(stream)
        # What a closed file does not take stays in the stream, which would fail with it at the end.
        self._stream = io.StringIO() if _is_closed(stream) else stream
        self._form = _live_form(stream) if live else Plain()
        if in_notebook() and hasattr(stream, "pub_thread"):  # else somebody captures it
            self._stream, self._form = _Output(), Notebook()
        self._stop = threading.Event()
        if live:
            self._replace("stdout")
            self._replace("stderr")
        self._thread = threading.Thread(
            target=self._paint_until, args=(self._stop,), name="heliostat-progress", daemon=True
        )
        self._thread.start()

    def _end(self) -> None:
        self._stop.set()
        self._write(self._form.wipe())
        for name, stream, above in self._replaced:
            # Somebody may have put a stream of their own in between.
            if getattr(sys, name) is above:
                setattr(sys, name, stream)
            above.release()
        self._replaced = []

    def _replace(self, name: str) -> None:
        stream: TextIO | None = getattr(sys, name)
        if stream is None or not _is_terminal(stream):
            return
        above = _Above(stream, self)
        setattr(sys, name, above)
        self._replaced.append((name, stream, above))

    def _paint_until(self, stop: threading.Event) -> None:
        while not stop.wait(PAINT_EVERY_S):
            with self._lock:
                if not stop.is_set():
                    self._paint([])

    def _paint(self, ended: list[View]) -> None:
        now = time.monotonic()
        size = _terminal_size(self._stream)
        self._write(self._form.frame([line.view() for line in self._open], ended, now, size))
        self._painted_at = now

    def _write(self, text: str) -> None:
        if not text:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The reader has gone or the stream is closed. Progress is not worth an error.
            self._stream = io.StringIO()


class _Output(io.TextIOBase):
    """One output of a notebook's cell, whose text is replaced by what is written."""

    def __init__(self) -> None:
        self._shown: Any = None

    def write(self, text: str) -> int:
        page = {"text/plain": text}
        if self._shown is None:
            display = sys.modules["IPython"].display.display
            self._shown = display(page, raw=True, display_id=True)
        else:
            self._shown.update(page, raw=True)
        return len(text)


class _Above(io.TextIOBase):
    """Stands in for a terminal stream while lines are live: text goes above them, by lines."""

    def __init__(self, stream: TextIO, painter: Painter) -> None:
        self._stream = stream
        self._painter = painter
        self._rest = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._rest = (self._rest + text).rpartition("\n")
            if newline:
                self._painter.write_above(self._stream, whole + newline)
        return len(text)

    def release(self) -> None:
        """Hand out the last, unfinished line."""
        with self._lock:
            if self._rest:
                self._stream.write(self._rest)
                self._stream.flush()
                self._rest = ""

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute in the stubs
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # a plain attribute in the stubs
        return self._stream.errors

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook.

    Returns:
        True there; False in IPython's terminal.

    Example:
        >>> in_notebook()
        False
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _silent() -> bool:
    environ = os.environ
    return (
        environ.get("HELIOSTAT_WORKER") == "1"
        or environ.get("HELIOSTAT_PROGRESS") == "0"
        or sys.stderr is None
    )


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:
        return False


def _is_closed(stream: TextIO) -> bool:
    try:
        os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError) as error:
        return getattr(error, "errno", None) == errno.EBADF
    return False


def _live_form(stream: TextIO) -> Live:
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return Live(unicode=encoding == "utf8", colour=not os.environ.get("NO_COLOR"))


def _terminal_size(stream: TextIO | _Output) -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return (100, 24) if isinstance(stream, _Output) else (80, 24)
    # Some pseudo-terminals say 0 x 0.
    return (columns or 80, rows or 24)


def _after_fork() -> None:
    # A new painter: the old one's locks may be held by threads that are gone.
    global _painter
    _painter.forget()
    _painter = Painter()


KEYS = itertools.count()
_painter = Painter()
atexit.register(lambda: _painter.shut())
os.register_at_fork(after_in_child=_after_fork)
