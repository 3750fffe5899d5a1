"""Channel: a socket that never blocks. Conn: the driver's, to a worker."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from heliostat._engines.local import wire
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
    Run,
)

_BUFFER = wire.Buffer()  # one thread at a time reads

if TYPE_CHECKING:
    from heliostat._engines.local.launch import Ends


class Channel:
    """A socket to another process."""

    __slots__ = ("_backlog", "_parser", "broken", "out", "sock", "watched")

    def __init__(self, sock: socket.socket, watched: int) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.out: list[Any] = []
        self.broken = False  # nobody reads what is sent
        self.watched = watched  # the events that a poll looks for
        self._backlog = b""  # what the socket did not take
        self._parser = wire.Parser()

    def encode(self) -> None:
        """Make what is queued ready to be sent."""
        if self.out:
            messages, self.out = self.out, []
            frame = wire.encode(messages)
            self._backlog = self._backlog + frame if self._backlog else frame

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
            sent = len(self._backlog)
        if sent == len(self._backlog):
            self._backlog = b""
            return True
        self._backlog = self._backlog[sent:]
        return False

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
                self.out.append(Defined(DRIVER, key, codes[key]))
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
