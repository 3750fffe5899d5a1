"""Ctrl-C must not tear the hub's tables: it waits until the main thread has left them."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Interrupts:
    """Takes SIGINT over while a session lives, if Python's own handler is in place."""

    def __init__(self) -> None:
        self.inside = False  # the main thread is in the tables now
        self._pending = False
        self._installed = False
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True

    def _handle(self, number: int, frame: FrameType | None) -> Any:
        if not self.inside:
            return signal.default_int_handler(number, frame)
        self._pending = True
        return None

    def left(self) -> None:
        """The main thread has left the tables: raise what came meanwhile."""
        if self._pending:
            self._pending = False
            raise KeyboardInterrupt

    def close(self) -> None:
        """Put Python's handler back, unless somebody else has taken over."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)
