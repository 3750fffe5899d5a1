"""Questions: a worker's to the hub, until they are answered or abandoned."""

from __future__ import annotations

import itertools
import pickle
import threading
from collections.abc import Callable, Collection
from typing import Any

from heliostat._engines.local.engine import RUNNING
from heliostat._engines.local.messages import Answered, Asked, Withdrawn
from heliostat._engines.local.transport.waiting import Lead, Waiter
from heliostat.exceptions import GetTimeoutError

_LONG = ("reserve", "fetch")  # they may wait for room; all others are answered at once


class Question(Waiter):
    """One that was asked.

    Args:
        task: What asks, if its cancellation ends the wait.
    """

    __slots__ = ("answer", "task")

    def __init__(self, task: bytes | None) -> None:
        super().__init__(missing=1)
        self.task = task
        self.answer: Answered | None = None

    def end(self) -> None:
        """Whoever waits goes on, with the answer or without."""
        self.missing = 0
        self.wake()


class Questions:
    """Asks, and waits.

    Args:
        proc: This process.
        lead: How to wait.
        post: Sends a message now.
        cancelled: The tasks that run here and were cancelled.
    """

    def __init__(
        self,
        proc: int,
        lead: Lead,
        post: Callable[[Any], None],
        cancelled: Collection[bytes],
    ) -> None:
        self._proc = proc
        self._lead = lead
        self._post = post
        self._cancelled = cancelled
        self._numbers = itertools.count(1)
        self._open: dict[int, Question] = {}
        self._main = threading.main_thread().ident
        self.interruptible = True  # an exception in an event loop would end it

    def ask(self, question: str, payload: Any, timeout_s: float | None = None) -> Any:
        """The answer.

        Raises:
            GetTimeoutError: If it does not come in time.
            KeyboardInterrupt: If the task that asks is cancelled while it waits for room.
        """
        number, asked = next(self._numbers), self._open_one(question)
        try:
            self._open[number] = asked
            self._post(Asked(self._proc, number, question, payload))
            if asked.task in self._cancelled:
                asked.end()
            self._lead.wait(asked, timeout_s)
            if asked.answer is None:
                raise self._abandoned(asked, timeout_s)
        except BaseException:
            self._open.pop(number, None)
            self._post(Withdrawn(self._proc, number, question, payload, None))
            raise
        del self._open[number]
        if asked.answer.error is not None:
            raise pickle.loads(asked.answer.error)
        return asked.answer.payload

    def _open_one(self, question: str) -> Question:
        main = self.interruptible and threading.get_ident() == self._main
        return Question(RUNNING.get().task if main and question in _LONG else None)

    def _abandoned(self, asked: Question, timeout_s: float | None) -> BaseException:
        if asked.task in self._cancelled:
            return KeyboardInterrupt("this task was cancelled")
        return GetTimeoutError(f"get() waited {timeout_s} s, and its value is still on disk")

    def answered(self, message: Answered) -> None:
        """An answer is there."""
        asked = self._open.get(message.request)
        if asked is not None:  # else it was abandoned, and the hub is told
            asked.answer = message
            asked.end()

    def cancel(self, task: bytes) -> None:
        """A task was cancelled: it does not wait any longer."""
        for asked in list(self._open.values()):
            if asked.task == task:
                asked.end()
