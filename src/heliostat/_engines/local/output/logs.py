"""Output: what workers print. It is read here, kept for a while, and given to the Printer."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from heliostat._engines.local.messages import Message
from heliostat._engines.local.output.printer import BAR, Printer, Source
from heliostat._engines.local.worker.stamps import MARK_BYTES, Stamp, parse

KEPT_BYTES = 64 << 10  # of each stream of each worker
KEPT_WORKERS = 64  # that have ended


class Label(Message):
    """What the hub knows of who prints: good enough until a stamp comes."""

    name: str
    pid: int | None


class Log:
    """One stream of one worker: the end of the pipe, and the last of what came."""

    def __init__(self, proc: int, fd: int, *, to_stderr: bool) -> None:
        self.proc, self.fd, self.to_stderr = proc, fd, to_stderr
        self.source: Source | None = None  # as the printer knows it, once something has come
        self.label = Label("worker", None)
        self._pieces: deque[bytes] = deque()
        self._size = self._dropped = 0
        self._stamp: Stamp | None = None  # the last of what was dropped
        os.set_blocking(fd, False)

    def read(self) -> bytes | None:
        """What has arrived; None if nothing has, empty at the end."""
        try:
            return os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return None

    def keep(self, data: bytes) -> None:
        """Remember it, and forget what is too old."""
        pieces = self._pieces
        if pieces and len(pieces[-1]) < 4096:
            pieces[-1] += data
        else:
            pieces.append(data)
        self._size += len(data)
        while self._size > KEPT_BYTES and len(pieces) > 1:
            gone = pieces.popleft()
            self._size -= len(gone)
            self._dropped += len(gone)
            at = gone.rfind(MARK_BYTES)
            if at >= 0:
                self._stamp = parse(gone[at:].partition(b"\n")[0]) or self._stamp

    @property
    def empty(self) -> bool:
        """Whether nothing ever came."""
        return not self._pieces

    def rows(self) -> Iterator[dict[str, Any]]:
        """What is kept, line by line with the task that printed it; the last may be unfinished."""
        position, stamp = self._dropped, self._stamp
        for line in b"".join(self._pieces).splitlines(keepends=True):
            start, position = position, position + len(line)
            found = parse(line.rstrip(b"\n"))
            stamp = found or stamp
            if found is None and not line.startswith(BAR):
                yield {
                    "worker_id": f"{self.proc:032x}",
                    "pid": stamp.pid if stamp else self.label.pid,
                    "stream": "err" if self.to_stderr else "out",
                    "task_id": stamp.task if stamp and not stamp.actor else None,
                    "actor_id": stamp.actor if stamp and stamp.actor else None,
                    "start": start,
                    "data": line,
                }


class Output:
    """Everything that the workers of a session print.

    Args:
        watch: Have a function called when a descriptor can be read.
        unwatch: The end of that.
        label: Who prints in a worker process now.
        resume: Called, in another thread, when paused streams can be read again.
        shown: Whether the driver shows it.
        prefixed: Whether lines begin with who printed them.
        fold_s: How long equal lines of other workers are held back to be shown as one; 0: never.
    """

    def __init__(
        self,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
        label: Callable[[int], Label],
        resume: Callable[[], None],
        *,
        shown: bool,
        prefixed: bool,
        fold_s: float = 0.0,
    ) -> None:
        self._watch, self._unwatch, self._label = watch, unwatch, label
        self._shown = shown
        self.busy = False  # something has come and may not be written yet
        repeats = None
        if fold_s:
            from heliostat._engines.local.output.repeats import Repeats  # noqa: PLC0415 - few want it

            repeats = Repeats(fold_s)
        self._printer = Printer(resume, prefixed=prefixed, repeats=repeats)
        self._logs: dict[int, list[Log]] = {}
        self._ended: deque[list[Log]] = deque(maxlen=KEPT_WORKERS)
        self._paused: list[Log] = []

    def open(self, proc: int, stdout: int, stderr: int) -> None:
        """A new worker prints into these pipes."""
        logs = [Log(proc, stdout, to_stderr=False), Log(proc, stderr, to_stderr=True)]
        self._logs[proc] = logs
        for log in logs:
            self._watch(log.fd, functools.partial(self._read, log))

    def _read(self, log: Log) -> None:
        data = log.read()
        if data == b"":
            self._unwatch(log.fd)
        elif data and not self._take(log, data):
            self._unwatch(log.fd)
            self._paused.append(log)

    def _take(self, log: Log, data: bytes) -> bool:
        log.label = self._label(log.proc)
        log.keep(data)
        if not self._shown:
            return True
        self.busy = True
        if log.source is None:
            log.source = Source(to_stderr=log.to_stderr)
        return self._printer.put(log.source, log.label, data)

    def catch_up(self) -> None:
        """Take what has come in streams that are paused."""
        self.busy = False
        for log in self._paused:
            if data := log.read():
                self._take(log, data)

    def settle(self) -> None:
        """Wait a moment for what has come to be written."""
        self._printer.settle()

    def go_on(self) -> None:
        """Read again what was paused."""
        paused, self._paused = self._paused, []
        for log in paused:
            self._watch(log.fd, functools.partial(self._read, log))

    def close(self, proc: int) -> None:
        """A worker has ended: pass on what is left and close the pipes."""
        logs = self._logs.pop(proc)
        for log in logs:
            while data := log.read():
                self._take(log, data)
            if log.source is not None:
                self._printer.put(log.source, log.label, b"")
            if log in self._paused:
                self._paused.remove(log)
            else:
                self._unwatch(log.fd)
            os.close(log.fd)
        if not all(log.empty for log in logs):
            self._ended.append(logs)

    def end(self) -> None:
        """Show everything that has come."""
        self._printer.end()

    def rows(self) -> list[dict[str, Any]]:
        """What is kept, line by line."""
        logs = [log for pair in (*self._ended, *self._logs.values()) for log in pair]
        return [row for log in logs for row in log.rows()]
