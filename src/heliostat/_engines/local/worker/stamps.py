"""Streams of a worker that say, in the stream itself, which task prints.

A stamp is written only when something is printed by another task than before, so a program that
prints nothing pays nothing. What does not go through `sys.stdout` (C code, child processes) counts
for the task that was stamped last.
"""

from __future__ import annotations

import io
import os
import sys

from heliostat._engines.local.engine import RUNNING
from heliostat._engines.local.messages import Message

MARK = "::heliostat-task::"
MARK_BYTES = MARK.encode()


class Stamp(Message):
    """Who prints; the identifiers in hex, empty if there is none.

    The process says its own number: what it prints may come before the word that it was born.
    """

    task: str
    actor: str
    pid: int
    name: str


def parse(line: bytes) -> Stamp | None:
    """The stamp that a line is, if it is one."""
    if not line.startswith(MARK_BYTES):
        return None
    fields = line.decode(errors="replace").removeprefix(MARK).split(" ", 3)
    if len(fields) < 4 or not fields[2].isdecimal():
        return None
    return Stamp(fields[0], fields[1].strip("-"), int(fields[2]), fields[3])


class Stamped(io.TextIOWrapper):
    """`sys.stdout` or `sys.stderr` of a worker."""

    _last: bytes | None = None  # the task, or actor, whose stamp was written last
    _unfinished = False  # whether the last line is
    actor_name = ""  # of the class, if this process hosts an actor

    def __init__(self, fd: int) -> None:
        raw = io.FileIO(fd, "w", closefd=False)
        super().__init__(io.BufferedWriter(raw), "utf-8", "backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        """Write it, after a stamp if somebody else printed before."""
        if text:
            running = RUNNING.get()
            key = running.actor or running.task
            if key is not None and key is not self._last and key != self._last:
                self._stamp(key, running.task_name if running.actor is None else self.actor_name)
            self._unfinished = text[-1] != "\n"
        return super().write(text)

    def becomes(self, name: str) -> None:
        """From now on this process is an actor; what C code prints is not the last task's."""
        self.actor_name = name
        actor = RUNNING.get().actor
        if self._last is not None and actor is not None:
            self._stamp(actor, name)
            self.flush()

    def _stamp(self, key: bytes, name: str) -> None:
        self._last = key
        actor = RUNNING.get().actor
        plain = "".join(c if c.isprintable() else "?" for c in name)
        line_end = "\n" if self._unfinished else ""
        who = f"{key.hex()} {actor.hex() if actor else '-'} {os.getpid()} {plain}"
        super().write(f"{line_end}{MARK}{who}\n")


def becomes(name: str) -> None:
    """Tell the streams of this process that it is an actor of that class now."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stamped):
            stream.becomes(name)
