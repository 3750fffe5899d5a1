"""Sender: a thread for what takes long, copying checkpoints and flushing them, one after the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Sender:
    """Does what it is given in a thread of its own, in order. The thread begins with the first.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def submit(self, work: Callable[[], None]) -> None:
        """Do this after all that was submitted before.

        Raises:
            Exception: What earlier work raised; nothing is done after it.
        """
        self._raise()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        self._work.put(work)

    def drain(self) -> None:
        """Wait until all is done.

        Raises:
            Exception: What it raised.
        """
        if self._thread is not None:
            self._work.join()
        self._raise()

    def close(self) -> None:
        """End the thread after the piece of work that it is at."""
        if self._thread is None:
            return
        self._error = RuntimeError("the loop is over")  # what is left is passed over
        self._work.put(None)
        self._thread.join()
        self._thread = self._error = None

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                if self._error is None:
                    work()
            # Whatever copying raises, or a function of the user's: the loop is told.
            except Exception as error:  # noqa: BLE001
                self._error = error
            finally:
                self._work.task_done()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
