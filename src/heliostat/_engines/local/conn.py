"""Conn: the driver's end of one worker: what is to be sent, what has arrived."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from heliostat._engines.local import wire
from heliostat._engines.local.launch import Ends
from heliostat._engines.local.messages import DRIVER, Call, Defined, Make, Run

_BUFFER = wire.Buffer()  # one thread at a time reads


class Conn:
    """A socket that never blocks the driver.

    Args:
        proc: The worker's number.
        ends: Its socket, and the pipes of its output, which are not read here.
    """

    __slots__ = (
        "_backlog",
        "_codes",
        "_parser",
        "name",
        "open",
        "out",
        "proc",
        "sock",
        "watched",
    )

    def __init__(self, proc: int, ends: Ends) -> None:
        self.proc = proc
        self.sock: socket.socket = ends.socket
        self.sock.setblocking(False)
        self.out: list[Any] = []
        self.open = 0  # tasks and calls sent and not finished
        self.name = "worker"
        self.watched = select.EPOLLIN
        self._backlog = bytearray()  # what the socket did not take
        self._parser = wire.Parser()
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

    def send(self) -> bool:
        """Send what is queued; False if the socket is full and wants to be waited for."""
        if self.out:
            self._backlog += wire.encode(self.out)
            self.out = []
        try:
            sent = self.sock.send(self._backlog) if self._backlog else 0
        except BlockingIOError:
            return False
        except OSError:  # it died; the zygote will say so
            sent = len(self._backlog)
        del self._backlog[:sent]
        return not self._backlog

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
