"""What a worker was lent goes back when nothing there needs it, and not before."""

import threading
from typing import Any

from heliostat._engines.local.messages import INLINE, SPILLED, STORED, Run, Value
from heliostat._engines.local.worker.holdings import Holdings

OBJECT = b"object"
PLACE: Value = (STORED, 4096, (8,), ())


def holdings() -> Holdings:
    return Holdings(threading.RLock(), lambda id_: True)


def a_task_with(id_: bytes, value: Value) -> Any:
    nothing: Value = (INLINE, b"", (), ())
    return Run(b"task", b"f", "f", 1, False, nothing, None, (0,), ((id_, value),), (), (), None)


def test_what_a_task_brought_goes_back_when_it_has_ended() -> None:
    held, task = holdings(), a_task_with(OBJECT, PLACE)
    held.received(task)
    assert held.done_with(task) == ((OBJECT, 1),)


def test_what_a_waiting_task_brought_stays_when_the_last_reference_to_it_goes() -> None:
    held, task = holdings(), a_task_with(OBJECT, PLACE)
    held.own(OBJECT)
    held.received(task)
    held.drop(OBJECT)
    assert held.drops() == (), "the task has not read it yet"
    assert held.done_with(task) == ((OBJECT, 2),)


def test_what_somebody_looks_at_is_not_forgotten() -> None:
    held = holdings()
    held.own(OBJECT)
    held.delivered(OBJECT, PLACE)
    held.look(OBJECT, PLACE)
    assert held.forget_places((OBJECT,)) == ()
    held.look_away(OBJECT)
    held.drops()
    assert held.forget_places((OBJECT,)) == (OBJECT,)
    assert held.known[OBJECT][0] == SPILLED
