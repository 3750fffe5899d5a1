"""Workers' output, line by line and prefixed, on the driver's own streams."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class Log:
    """One stream of one worker.

    Args:
        fd: The end of the pipe to read.
        to_stderr: Where its lines go.
        prefix: Asked for what to put before a line; None: it is not shown.
    """

    def __init__(self, fd: int, *, to_stderr: bool, prefix: Callable[[], str | None]) -> None:
        self.fd = fd
        self._to_stderr = to_stderr
        self._prefix = prefix
        self._rest = b""
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Pass on what has arrived; False at the end of the stream."""
        data = self._chunk()
        if data:
            self._take(data)
        return data != b""

    def _chunk(self) -> bytes | None:
        try:
            return os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return None

    def _take(self, data: bytes) -> None:
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if lines:
            self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        stream = sys.stderr if self._to_stderr else sys.stdout
        if stream is None:  # a program without a console
            return
        prefix = self._prefix()
        if prefix is None:
            return
        text = "".join(f"{prefix}{line.decode(errors='replace')}\n" for line in lines)
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError):  # closed, or the reader of our output has gone
            return

    def close(self) -> None:
        """Pass on what is left and close the pipe."""
        while data := self._chunk():
            self._take(data)
        if self._rest:
            self._write([self._rest])
        os.close(self.fd)
