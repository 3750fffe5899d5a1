"""One thread at a time is in the hub's tables; Ctrl-C and callbacks wait until it has left."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

from heliostat._engines.local.transport.waiting import TAKES_THE_LEAD


class Guard:
    """The lock of the tables.

    A KeyboardInterrupt in the middle of them would tear them, so SIGINT is taken over while a
    session lives (if Python's own handler is in place) and raised when the main thread has left.

    Args:
        late: Called with each event that a user's finaliser posted while its own thread was in
            the tables already; it is the last to be in them.
    """

    def __init__(self, late: Callable[[Any], None]) -> None:
        self.callbacks: deque[Callable[[], None]] = deque()  # to call when nobody is inside
        self._late = late
        self._events: deque[Any] = deque()
        self._lock = threading.RLock()
        self._depth = 0
        self._main = threading.main_thread().ident
        self._interrupted = False
        self._installed = False
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._on_interrupt)
            self._installed = True

    def enter(self) -> bool:
        """Wait for the tables; False if this thread is in them already."""
        self._lock.acquire()
        depth = self._depth = self._depth + 1
        return depth == 1

    def postpone(self, event: Any) -> None:
        """Handle this when the thread that is in the tables leaves them."""
        self._events.append(event)

    def leave(self) -> None:
        """Leave, then do what had to wait. Raises KeyboardInterrupt if one came meanwhile."""
        if self._events and self._depth == 1:
            while self._events:
                self._late(self._events.popleft())
        depth = self._depth = self._depth - 1
        self._lock.release()
        if self._interrupted and not depth and threading.get_ident() == self._main:
            self._interrupted = False
            raise KeyboardInterrupt
        if self.callbacks:
            self._call_back()

    def _call_back(self) -> None:
        while self.callbacks:
            try:
                callback = self.callbacks.popleft()
            except IndexError:  # another thread was faster
                return
            callback()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self.leave()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> Any:
        if self._lock._is_owned():  # type: ignore[attr-defined]  # by this thread, the main one
            self._interrupted = True
            return None
        # Python ignores what finalisers raise, and a lead that is about to be given back must be.
        if _in_finaliser(frame) or (frame is not None and frame.f_code in TAKES_THE_LEAD):
            again = threading.Timer(0.001, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
            return None
        return signal.default_int_handler(number, frame)

    def close(self) -> None:
        """Put Python's handler back, unless somebody else has taken over."""
        if not self._installed or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(signal.SIGINT) == self._on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_finaliser(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name in ("__del__", "_on_interrupt"):  # or where the last one is put off
            return True
        frame = frame.f_back
    return False
