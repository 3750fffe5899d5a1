"""Frames, and who sends them. Channel: a socket that never blocks. Conn: the driver's, to a worker.

A frame is a length (4 bytes, little endian) and a marshalled list of tuples, each a message's
number in `WIRE` and its fields. marshal is the fastest format for builtins that Python
has; both ends are the same interpreter and the same user, joined by a private socketpair.
"""

from __future__ import annotations

import contextlib
import marshal
import select
import socket
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from heliostat._engines.local import direct_messages, messages
from heliostat._engines.local.direct_messages import (
    LineIn,
    LineOut,
)
from heliostat._engines.local.messages import (
    DRIVER,
    Call,
    Connect,
    Defined,
    Make,
    Nudge,
    Run,
    Send,
)

WIRE = messages.WIRE + direct_messages.WIRE
_LENGTH = struct.Struct("<I")
_NUMBER = {kind: number for number, kind in enumerate(WIRE)}
_TOGETHER = 64  # messages to one worker that may be sent together
_IN_A_ROW = 4  # calls without a wait or pause after which they may be, though the worker is idle
_PAUSE_S = 1e-3
_NOTHING = memoryview(b"")


class Ends(NamedTuple):
    """The driver's ends of a new worker: its socket, the one for handing over others, its output."""

    socket: socket.socket
    handover: socket.socket
    stdout: int
    stderr: int


def encode(batch: Sequence[Any]) -> bytes:
    """One frame with these messages, in order."""
    if len(batch) == 1:
        data = marshal.dumps([(_NUMBER[type(batch[0])], *batch[0])])
    else:
        data = marshal.dumps([(_NUMBER[type(message)], *message) for message in batch])
    return _LENGTH.pack(len(data)) + data


class Buffer:
    """Where a reader receives bytes.

    `socket.recv` makes a new object of the size asked for each time; one of 256 KiB takes longer
    to get from the system than everything else that a message needs.
    """

    __slots__ = ("_view",)

    def __init__(self) -> None:
        self._view = memoryview(bytearray(1 << 18))

    def receive(self, sock: socket.socket) -> bytes:
        """What has arrived; empty at the end of the stream."""
        return bytes(self._view[: sock.recv_into(self._view)])


class Parser:
    """Collects bytes as they come and gives messages as they are complete."""

    __slots__ = ("_missing", "_parts")

    def __init__(self) -> None:
        # Joined when a message is complete: with each that comes, a large one would be copied.
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> list[Any]:
        """The messages that `data` completes."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = b"".join(self._parts)
        start, end, length = 0, len(data), 0
        found: list[Any] = []
        while end - start >= 4:
            (length,) = _LENGTH.unpack_from(data, start)
            if end - start - 4 < length:
                break
            start += 4 + length
            for fields in marshal.loads(memoryview(data)[start - length : start]):
                found.append(WIRE[fields[0]].of(fields[1:]))  # noqa: PERF401 - not slower
        self._parts = [data[start:]] if start < end else []
        self._missing = 4 + (length if end - start >= 4 else 0) - (end - start)
        return found


_BUFFER = Buffer()  # one thread at a time reads


class Channel:
    """A socket to another process."""

    __slots__ = ("_backlog", "_later", "_parser", "broken", "out", "sock", "watched")

    def __init__(self, sock: socket.socket, watched: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.out: list[Any] = []
        self.broken = False  # nobody reads what is sent
        self.watched = watched  # the events that a poll looks for
        self._backlog = _NOTHING  # what the socket did not take: a view, as it may be large
        self._later: list[bytes] = []  # what comes after it
        self._parser = Parser()

    def encode(self) -> None:
        """Make what is queued ready to be sent."""
        if self.out:
            messages, self.out = self.out, []
            frame = encode(messages)
            if self._backlog:
                self._later.append(frame)
            else:
                self._backlog = memoryview(frame)

    def send(self) -> bool:
        """Send what is encoded; False if the socket is full and wants to be waited for."""
        if not self._backlog:
            return True
        try:
            sent = self.sock.send(self._backlog)
        except BlockingIOError:
            return False
        except OSError:  # it died; somebody else will say so
            self.broken = True
            self._later, sent = [], len(self._backlog)
        self._backlog = self._backlog[sent:] or _NOTHING  # an empty view would hold all of it
        if self._backlog:
            return False
        if not self._later:
            return True
        self._backlog, self._later = memoryview(b"".join(self._later)), []
        return self.send()

    def read(self) -> list[Any] | None:
        """The messages that have arrived; None at the end of the stream."""
        try:
            data = _BUFFER.receive(self.sock)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            return None
        return self._parser.feed(data) if data else None

    def last_words(self) -> Iterator[Any]:
        """What it had sent before it died."""
        with contextlib.suppress(OSError):
            while data := _BUFFER.receive(self.sock):
                yield from self._parser.feed(data)


class Conn(Channel):
    """A worker as the driver writes to it and hears it.

    Args:
        proc: The worker's number.
        ends: Its sockets, and the pipes of its output, which are not read here.
    """

    __slots__ = ("_codes", "handover", "name", "open", "proc")

    def __init__(self, proc: int, ends: Ends) -> None:
        super().__init__(ends.socket, select.EPOLLIN)
        self.proc = proc
        self.handover: socket.socket = ends.handover
        self.handover.setblocking(False)
        self.open = 0  # tasks and calls sent and not finished
        self.name = "worker"
        self._codes: set[bytes] = set()  # functions that it knows

    def add(self, message: Any, codes: Mapping[bytes, bytes]) -> None:
        """Put a message into the queue, and before it the function it needs."""
        kind = type(message)
        if kind is Run or kind is Make:
            self.open += 1
            key, self.name = message[1:3]
            if key not in self._codes:
                self._codes.add(key)
                self.out.append(Defined.of((DRIVER, key, codes[key])))
        elif kind is Call:
            self.open += 1
        self.out.append(message)

    def give(self, sock: socket.socket) -> bool:
        """Hand over a socket; a message has to say so. False if there is no room."""
        try:
            socket.send_fds(self.handover, [b"."], [sock.fileno()])
        except OSError:  # it has not taken many others, or is dead
            return False
        return True

    def close(self) -> None:
        """Close its sockets."""
        self.sock.close()
        self.handover.close()


def join(conns: Mapping[int, Conn], command: Connect) -> dict[int, Conn]:
    """Give two workers the ends of a new line, and queue the messages that say so.

    Without a line they go on by the hub.

    Args:
        conns: All workers, by number.
        command: Whom to join.

    Returns:
        Those of the two that have something to be sent.
    """
    caller, callee = conns[command.caller], conns[command.callee]
    try:
        one, other = socket.socketpair()
    except OSError:  # no descriptor is left
        return {}
    with one, other:
        if not callee.give(other):
            return {}
        callee.out.append(LineIn(command.line, command.caller))
        if caller.give(one):
            caller.out.append(LineOut(command.line, command.actor, command.callee))
    return {command.caller: caller, command.callee: callee}


class Outbox:
    """Messages by worker. To send each alone would wake its worker for each.

    So a worker that is busy gets several together, and so does one that is not while the driver
    makes one call after the other. What is kept back goes with the next wait, or in a moment.

    Args:
        keep: Has what is kept back sent in a moment.
        watch: Looks out for other events on a worker's socket.
        nudge: Interrupts what a worker's main thread waits for.
    """

    def __init__(
        self,
        keep: Callable[[], None],
        watch: Callable[[Conn, int], None],
        nudge: Callable[[int], None],
    ) -> None:
        self.conns: dict[int, Conn] = {}
        self.codes: dict[bytes, bytes] = {}  # functions and classes, by key
        self.dirty: dict[int, Conn] = {}
        self._keep, self._watch, self._nudge = keep, watch, nudge
        self._nudges: list[int] = []
        self._calls, self._last = 0, 0.0  # in a row, and when the last of them was made

    def send(self, command: Send) -> None:
        """Put a message into the box."""
        proc, message = command
        conn = self.conns.get(proc)
        if conn is not None:
            conn.add(message, self.codes)
            self.dirty[proc] = conn

    def nudge(self, command: Nudge) -> None:
        """Interrupt a worker, after what is sent to it."""
        self._nudges.append(command.proc)

    def join(self, command: Connect) -> None:
        """Give two workers a line of their own."""
        self.dirty.update(join(self.conns, command))

    def called(self, now: float) -> None:
        """The driver has made a call; send what should not wait for more."""
        self._calls = self._calls + 1 if now - self._last < _PAUSE_S else 0
        self._last = now
        if self.dirty:
            self.flush(lazily=True)

    def waits(self) -> bool:
        """The driver waits, so no more calls are to come; whether there is something to send."""
        self._calls = 0
        return bool(self.dirty or self._nudges)

    def flush(self, *, lazily: bool) -> None:
        """Send what there is, or only what should not wait for more."""
        if self.dirty:
            kept: dict[int, Conn] = {}
            dirty, self.dirty = self.dirty, kept
            for proc, conn in dirty.items():
                more_to_come = conn.open > 2 or self._calls > _IN_A_ROW
                if lazily and more_to_come and len(conn.out) < _TOGETHER:
                    kept[proc] = conn
                else:
                    self.send_out(conn)
            if kept:
                self._keep()
        while self._nudges:
            self._nudge(self._nudges.pop(0))

    def send_out(self, conn: Conn) -> None:
        """Send what there is for one worker, as far as its socket takes it."""
        conn.encode()
        wants = select.EPOLLIN if conn.send() else select.EPOLLIN | select.EPOLLOUT
        if wants != conn.watched:
            self._watch(conn, wants)
