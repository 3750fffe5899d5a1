"""Asking: the driver's questions, until they are answered. Most are answered at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from heliostat._engines.local.guard import Guard
from heliostat._engines.local.messages import DRIVER, Answer, Asked, Withdrawn
from heliostat._engines.local.waiting import Lead, Waiter
from heliostat.exceptions import GetTimeoutError, ObjectStoreFullError, RaySystemError


class Asking:
    """Asks on the caller's thread, and waits if it has to.

    Args:
        guard: The lock of the hub's tables.
        lead: How to wait.
        tell: Handles an event and sends what there is to send.
        stir: Tells whoever reads now that there may be something to do soon.
    """

    def __init__(
        self,
        guard: Guard,
        lead: Lead,
        tell: Callable[[Any], None],
        stir: Callable[[], None],
    ) -> None:
        self._guard = guard
        self._lead = lead
        self._tell = tell
        self._stir = stir
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answer] = {}
        self._waiters: dict[int, Waiter] = {}
        self._closed = False

    def ask(self, question: str, payload: Any, timeout_s: float | None = None) -> Any:
        """The answer.

        Raises:
            GetTimeoutError: If it does not come in time.
        """
        number = next(self._numbers)
        first = self._guard.enter()
        try:
            self._tell(Asked(DRIVER, number, question, payload))
            if number not in self._answers:
                waiter = self._waiters[number] = Waiter(missing=1)
                if not first:
                    self._withdraw(number, payload)
                    raise ObjectStoreFullError(
                        "shared memory is full, and a finaliser cannot wait for room in it"
                    )
        finally:
            self._guard.leave()
        if number not in self._answers:
            self._wait(number, waiter, payload, timeout_s)
        answer = self._answers.pop(number)
        if answer.error is not None:
            raise answer.error
        return answer.payload

    def _wait(self, number: int, waiter: Waiter, about: Any, timeout_s: float | None) -> None:
        try:
            self._stir()  # it would sleep for too long
            self._lead.wait(waiter, timeout_s)
        except BaseException:
            with self._guard:
                self._withdraw(number, about)
            raise
        with self._guard:
            if number in self._answers:
                del self._waiters[number]
                return
            self._withdraw(number, about)
        if self._closed:
            raise RaySystemError("the session has ended while this waited for shared memory")
        raise GetTimeoutError(f"get() waited {timeout_s} s, and its value is still on disk")

    def _withdraw(self, number: int, about: Any) -> None:
        del self._waiters[number]
        self._tell(Withdrawn(DRIVER, number, about, self._answers.pop(number, None)))

    def answered(self, answer: Answer) -> None:
        """An answer is there."""
        self._answers[answer.request] = answer
        waiter = self._waiters.get(answer.request)
        if waiter is not None:
            waiter.missing = 0
            waiter.wake()

    def close(self) -> None:
        """Nothing will be answered any more."""
        self._closed = True
        for waiter in self._waiters.values():
            waiter.missing = 0
            waiter.wake()
