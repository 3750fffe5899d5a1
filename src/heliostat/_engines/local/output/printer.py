"""Printer: a thread that writes what workers print to the driver's streams.

It alone waits when the terminal or the reader of a pipe is slow; the hub goes on, and reads no more
of the workers' output than fits into `MOST_BYTES`. The first line after a silence is written at
once; of many, those of a few milliseconds together.
"""

from __future__ import annotations

import _thread
import importlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._engines.local.output.lines import Lines, display
from heliostat._engines.local.worker.stamps import Stamp, parse

if TYPE_CHECKING:
    from heliostat._engines.local.output.repeats import Repeats

MOST_BYTES = 1 << 20
CALM_S = 0.003
SETTLE_S = 0.05
# Lines that begin so are about a progress bar, and who shows it: loaded by name when one comes.
BAR = b"::heliostat-bar::"
_BARS = "heliostat.experimental.tqdm_ray"


_Line = tuple[bool, str, bytes]  # whether to stderr, the prefix, and the line


class Source:
    """One stream of one worker, as the printer knows it."""

    def __init__(self, *, to_stderr: bool) -> None:
        self.to_stderr = to_stderr
        self.label: tuple[str, int | None] = ("worker", None)
        self.lines = Lines()
        self.stamp: Stamp | None = None  # the last that came
        self.bars = False  # whether it has shown a progress bar


class Printer:
    """Writes in the order in which it is told.

    Args:
        drained: Called, in its thread, when it takes more after `put` said that it was enough.
        prefixed: Whether lines begin with who printed them.
        repeats: What folds equal lines of several workers, if that is wanted.
    """

    def __init__(
        self, drained: Callable[[], None], *, prefixed: bool, repeats: Repeats | None = None
    ) -> None:
        self._prefixed, self._repeats = prefixed, repeats
        self._drained = drained
        self._queue: deque[tuple[Source, tuple[str, int | None], bytes]] = deque()
        self._size = 0
        self._changed = threading.Condition(threading.Lock())
        self._idle = threading.Event()
        self._idle.set()
        self._gone = threading.Event()
        self._gone.set()
        self._ident = 0
        self._slow = self._ending = self._refused = self._hurry = False
        self._turned = 0.0  # when it last wrote
        self._unfinished: dict[Source, None] = {}

    def put(self, source: Source, label: tuple[str, int | None], data: bytes) -> bool:
        """Have this written; False if it is enough for now.

        Args:
            source: Where it comes from.
            label: Who printed it, and in which process.
            data: The next of the stream; empty at its end.
        """
        with self._changed:
            self._queue.append((source, label, data))
            self._size += len(data)
            self._idle.clear()
            self._changed.notify()
            if self._gone.is_set() and not self._ending:
                self._gone.clear()
                # Not a threading.Thread: Jupyter shows what such a thread prints below the cell
                # that started it, and not below the one that runs.
                _thread.start_new_thread(self._run, ())
            if self._size < MOST_BYTES and time.monotonic() - self._turned > CALM_S:
                return True
            self._refused = True
            return False

    def settle(self) -> None:
        """Wait a moment for what has come to be written, unless nobody takes it."""
        if self._idle.is_set() or self._slow or threading.get_ident() == self._ident:
            return
        with self._changed:
            self._hurry = True
            self._changed.notify()
        self._slow = not self._idle.wait(SETTLE_S)

    def end(self) -> None:
        """Write everything, and stop."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        if threading.get_ident() != self._ident:
            self._gone.wait()

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            while self._turn():
                pass
        finally:
            self._ident = 0
            self._idle.set()
            self._gone.set()

    def _turn(self) -> bool:
        """Write what there is; False at the end."""
        with self._changed:
            if not self._queue:
                self._idle.set()
                self._slow = self._hurry = False
                if self._ending:
                    self._write_held_back()
                    return False
                self._changed.wait(self._patience_s())
            while self._queue and not self._hurry and not self._ending:
                left = self._turned + CALM_S - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            items = list(self._queue)
            self._queue.clear()
        now = time.monotonic()
        out: list[_Line] = []
        for source, label, data in items:
            source.label = label
            self._add(out, source, source.lines.feed(data, now) if data else source.lines.end())
            if not data and source.bars:
                importlib.import_module(_BARS).gone(label[1])
        for source in [s for s in self._unfinished if (s.lines.due() or now) <= now]:
            self._add(out, source, source.lines.end())
        if self._repeats is not None:
            out += self._repeats.over(now)
        _write(out)
        self._taken(sum(len(data) for _, _, data in items))
        return True

    def _write_held_back(self) -> None:
        if self._repeats is not None:
            _write(self._repeats.over(math.inf))

    def _add(self, out: list[_Line], source: Source, lines: list[bytes]) -> None:
        prefix = self._prefix(source)
        for line in lines:
            stamp = parse(line)
            if line.startswith(BAR):
                source.bars = True
            if stamp is None:
                item = source.to_stderr, prefix, line
                if self._is_shown(item, source):
                    out.append(item)
            else:
                source.stamp = stamp
                prefix = self._prefix(source)
        self._note(source)

    def _is_shown(self, item: _Line, source: Source) -> bool:
        if self._repeats is None or item[2].startswith(BAR):
            return True
        return self._repeats.shows(item, source.label[1], time.monotonic())

    def _prefix(self, source: Source) -> str:
        name, pid = source.label
        if source.stamp is not None:
            name, pid = source.stamp.name or name, source.stamp.pid
        return f"({name} pid={pid or '?'}) " if self._prefixed else ""

    def _note(self, source: Source) -> None:
        if source.lines.due() is None:
            self._unfinished.pop(source, None)
        else:
            self._unfinished[source] = None

    def _patience_s(self) -> float | None:
        dues = [due for source in self._unfinished if (due := source.lines.due()) is not None]
        if self._repeats is not None and (due := self._repeats.due()) is not None:
            dues.append(due)
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _taken(self, size: int) -> None:
        with self._changed:
            self._size -= size
            self._turned = time.monotonic()
            more = self._refused and self._size < MOST_BYTES // 2
            if more:
                self._refused = False
        if more:
            self._drained()


def _write(lines: list[_Line]) -> None:
    """Lines of the same stream go out together."""
    text: list[str] = []
    last = None
    for to_stderr, prefix, line in lines:
        if line.startswith(BAR):
            _flush(last, text)
            _show_bar(line)
            continue
        if last is not to_stderr:
            _flush(last, text)
            last = to_stderr
        text.append(display(line, prefix))
    _flush(last, text)


def _flush(to_stderr: bool | None, text: list[str]) -> None:
    stream = sys.stderr if to_stderr else sys.stdout
    if not text or stream is None:  # None: a program without a console
        return
    whole = "\n".join(text) + "\n"
    text.clear()
    try:
        _put(stream, whole)
    except Exception:  # noqa: BLE001 - the user's stream: closed, or the reader of it has gone
        return


def _put(stream: Any, whole: str) -> None:
    try:
        stream.write(whole)
    except UnicodeEncodeError:  # a console that knows fewer characters
        encoding = getattr(stream, "encoding", None) or "ascii"
        stream.write(whole.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _show_bar(line: bytes) -> None:
    try:
        importlib.import_module(_BARS).show(line.removeprefix(BAR))
    except ValueError:  # it only looked like one
        _flush(False, [line.decode(errors="backslashreplace")])
