"""bytes <-> messages. The parser never touches a socket.

A frame is a length (4 bytes, little endian) and a marshalled list of tuples, each a message's
number in `WIRE` and its fields. marshal is the fastest format for builtins that Python
has; both ends are the same interpreter and the same user, joined by a private socketpair.
"""

from __future__ import annotations

import marshal
import socket
import struct
from collections.abc import Sequence
from typing import Any

from heliostat._engines.local import direct_messages, messages

WIRE = messages.WIRE + direct_messages.WIRE
_LENGTH = struct.Struct("<I")
_NUMBER = {kind: number for number, kind in enumerate(WIRE)}


def encode(messages: Sequence[Any]) -> bytes:
    """One frame with these messages, in order."""
    if len(messages) == 1:
        data = marshal.dumps([(_NUMBER[type(messages[0])], *messages[0])])
    else:
        data = marshal.dumps([(_NUMBER[type(message)], *message) for message in messages])
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

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Any]:
        """The messages that `data` completes."""
        if self._rest:
            data = self._rest + data
        start, end = 0, len(data)
        found: list[Any] = []
        while end - start >= 4:
            (length,) = _LENGTH.unpack_from(data, start)
            if end - start - 4 < length:
                break
            start += 4 + length
            for fields in marshal.loads(memoryview(data)[start - length : start]):
                found.append(WIRE[fields[0]].of(fields[1:]))  # noqa: PERF401 - not slower
        self._rest = data[start:]
        return found
