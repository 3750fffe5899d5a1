"""A question that is abandoned at whatever moment is withdrawn, with the answer if there is one."""

import signal
import threading
from typing import Any

import pytest

from heliostat._engines.local.messages import DRIVER, Answer, Asked, Withdrawn
from heliostat._engines.local.transport.asking import Asking
from heliostat._engines.local.transport.waiting import Guard, Lead, Waiter
from heliostat.exceptions import GetTimeoutError, ObjectStoreFullError, RaySystemError


class Tables:
    """What is told, and what follows from it."""

    def __init__(self, *, answers: bool, interrupts: bool = False) -> None:
        self.answers, self.interrupts = answers, interrupts
        self.told: list[Any] = []
        self.guard = Guard(self.told.append)
        self.lead = Lead(self.read, lambda: None)
        self.asking = Asking(self.guard, self.lead, self.tell, lambda: None)

    def tell(self, event: Any) -> None:
        self.told.append(event)
        if type(event) is Asked:
            if self.answers:
                error = ObjectStoreFullError("no") if event.payload == "refuse" else None
                self.asking.answered(Answer(DRIVER, event.request, (4096, True), error))
            if self.interrupts:
                signal.raise_signal(signal.SIGINT)

    def read(self, timeout_s: float | None, ready: object) -> None:
        threading.Event().wait(0.01)
        if self.interrupts:
            signal.raise_signal(signal.SIGINT)

    def withdrawn(self) -> list[tuple[str, Any]]:
        return [
            (e.question, e.answer and e.answer.payload) for e in self.told if type(e) is Withdrawn
        ]


def test_an_interrupt_after_the_answer_gives_the_answer_back() -> None:
    tables = Tables(answers=True, interrupts=True)
    with pytest.raises(KeyboardInterrupt):
        tables.asking.ask("reserve", 100)
    assert tables.withdrawn() == [("reserve", (4096, True))]
    tables.guard.close()


def test_an_interrupt_while_it_waits_withdraws_the_question() -> None:
    tables = Tables(answers=False)
    tables.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        tables.asking.ask("fetch", b"object")
    assert tables.withdrawn() == [("fetch", None)]
    tables.guard.close()


def test_a_question_that_takes_too_long_is_withdrawn() -> None:
    tables = Tables(answers=False)
    with pytest.raises(GetTimeoutError):
        tables.asking.ask("fetch", b"object", 0.02)
    assert tables.withdrawn() == [("fetch", None)]
    tables.guard.close()


def test_an_answer_and_a_refusal_are_not_withdrawn() -> None:
    tables = Tables(answers=True)
    assert tables.asking.ask("reserve", 100) == (4096, True)
    with pytest.raises(ObjectStoreFullError):
        tables.asking.ask("reserve", "refuse")
    assert tables.withdrawn() == []
    tables.guard.close()


def test_a_finaliser_that_would_have_to_wait_is_refused() -> None:
    tables = Tables(answers=False)
    with tables.guard, pytest.raises(ObjectStoreFullError, match="finaliser"):
        tables.asking.ask("reserve", 100)
    assert tables.withdrawn() == [("reserve", None)]
    tables.guard.close()


def test_the_end_of_the_session_is_an_error_for_who_waits() -> None:
    tables = Tables(answers=False)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            tables.asking.ask("fetch", b"object")
        except RaySystemError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    tables.lead.wait(Waiter(missing=1), 0.05)
    tables.asking.close()
    thread.join()
    assert len(errors) == 1
    tables.guard.close()
