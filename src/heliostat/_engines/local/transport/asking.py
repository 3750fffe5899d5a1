"""Asking: the driver's questions, until they are answered. Most are answered at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from heliostat._engines.local.messages import DRIVER, Answer, Asked, Withdrawn
from heliostat._engines.local.transport.waiting import Guard, Lead, Waiter
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
        number, answer = next(self._numbers), None
        try:
            self._put(number, question, payload)
            waiter = self._waiters.get(number)
            if waiter is not None:
                self._wait(number, waiter, timeout_s)
            answer = self._answers[number]
            self._forget(number)
            if answer.error is not None:
                raise answer.error
            return answer.payload
        except BaseException as error:
            # Abandoned at whatever moment: Ctrl-C may come when the answer is there already.
            if answer is None or error is not answer.error:
                self._withdraw(number, question, payload, answer)
            raise

    def _put(self, number: int, question: str, payload: Any) -> None:
        first = self._guard.enter()
        try:
            self._tell(Asked(DRIVER, number, question, payload))
            if number not in self._answers:
                if not first:
                    raise ObjectStoreFullError(
                        "shared memory is full, and a finaliser cannot wait for room in it"
                    )
                self._waiters[number] = Waiter(missing=1)
        finally:
            self._guard.leave()

    def _wait(self, number: int, waiter: Waiter, timeout_s: float | None) -> None:
        self._stir()  # it would sleep for too long
        self._lead.wait(waiter, timeout_s)
        if number in self._answers:
            return
        if self._closed:
            raise RaySystemError("the session has ended while this waited for shared memory")
        raise GetTimeoutError(f"get() waited {timeout_s} s, and its value is still on disk")

    def _forget(self, number: int) -> Answer | None:
        self._waiters.pop(number, None)
        return self._answers.pop(number, None)

    def _withdraw(self, number: int, question: str, about: Any, answer: Answer | None) -> None:
        if self._closed:
            return
        with self._guard:
            late = self._forget(number)
            self._tell(Withdrawn(DRIVER, number, question, about, answer or late))

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
