"""Who gets a line, and what becomes of direct calls that the hub knows."""

from __future__ import annotations

from typing import Any, TypeVar

from heliostat._core.options import UNIT
from heliostat._engines.local import direct_messages as d
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler

T = TypeVar("T")
NOTHING: m.Value = (m.INLINE, b"", (), ())
ERROR: m.Value = (m.ERROR, b"\x80\x05N.", (), ())


def id_of(number: int) -> bytes:
    return number.to_bytes(12, "big") + bytes(4)


class Session:
    """A scheduler, an actor in one process and a task that calls it in another."""

    def __init__(self, *, restarts: int = 0, retries: int = 0) -> None:
        self.scheduler = Scheduler({"CPU": 2 * UNIT})
        self.commands: list[Any] = []
        self.actor, self._retries = id_of(1), retries
        self.tell(
            m.Created(
                0, self.actor, b"k", "A", (), restarts, 0, 0, "", "", False, (), False, b"",
                NOTHING, None, (), (), None, None, b"",
            )
        )  # fmt: skip
        self.construct()
        self.tell(
            m.Submitted(
                0,
                id_of(2),
                b"f",
                "f",
                1,
                (("CPU", UNIT),),
                0,
                False,
                NOTHING,
                None,
                (),
                (),
                None,
                None,
                0,
                b"",
            )
        )
        (send,) = [c for c in self.commands if isinstance(c, m.Send) and type(c.message) is m.Run]
        self.caller = int(send.proc)

    def construct(self) -> None:
        sent = [c for c in self.commands if isinstance(c, m.Send) and type(c.message) is m.Make]
        self.callee = int(sent[-1].proc)
        self.tell(m.Finished(self.callee, self.actor, (NOTHING,), 0, 0.0, ()))

    def tell(self, event: Any) -> list[Any]:
        new = self.scheduler.handle(event, 1.0)
        self.scheduler.check()
        self.commands += new
        return new

    def called(self, number: int) -> m.Called:
        return m.Called(
            self.caller, id_of(number), self.actor, "go", 1, self._retries, False, NOTHING, None,
            (), (), id_of(2), "", 0, 0,
        )  # fmt: skip

    def exposed(self, number: int) -> None:
        self.tell(d.Exposed(self.caller, self.callee, tuple(self.called(number))))

    def lost(self, number: int, *, known: bool, begun: bool = True) -> list[Any]:
        called = tuple(self.called(number))
        return self.tell(d.Lost(self.caller, self.callee, called, known, begun))

    def value(self, number: int) -> m.Value | None:
        entry = self.scheduler.owned.objects.get(id_of(number))
        return entry.value if entry is not None else None

    def stored(self) -> m.Value:
        """What the callee has just written to shared memory."""
        (answer,) = self.tell(m.Reserve(self.callee, 1, 8, None))
        return m.STORED, answer.payload[0], (8,), ()

    def settle(self, number: int, by: int, value: m.Value = NOTHING, failure: int = 0) -> list[Any]:
        return self.tell(d.Settled(by, self.caller, id_of(number), (value,), failure, 0.0, ()))


def sent(commands: list[Any], kind: type[T]) -> list[T]:
    return [c.message for c in commands if isinstance(c, m.Send) and type(c.message) is kind]


def test_who_dials_gets_a_line() -> None:
    session = Session()
    session.tell(session.called(10))
    commands = session.tell(d.Dialled(session.caller, session.actor))
    assert commands == [m.Connect(session.caller, session.callee, 1, session.actor)]


def test_an_actor_has_no_line_to_itself() -> None:
    session = Session()
    assert session.tell(d.Dialled(session.callee, session.actor)) == []


def test_who_dials_before_the_actor_is_there_gets_a_line_later() -> None:
    session = Session(restarts=1)
    session.tell(m.WorkerLost(session.callee, "it died"))
    assert session.tell(d.Dialled(session.caller, session.actor)) == []
    session.construct()
    connected = m.Connect(session.caller, session.callee, 1, session.actor)
    assert [c for c in session.commands if isinstance(c, m.Connect)] == [connected]


def test_what_comes_by_a_line_is_cleared_when_what_came_before_was_sent() -> None:
    session = Session()
    session.tell(d.Dialled(session.caller, session.actor))
    commands = session.tell(d.Switched(session.caller, session.actor, 1, 1))
    assert sent(commands, d.Clear) == [d.Clear(1, 1)]
    late = id_of(50)
    session.tell(
        m.Submitted(
            0, late, b"f", "f", 1, (("CPU", UNIT),), 0, False, NOTHING, None, (), (), None,
            None, 0, b"",
        )
    )  # fmt: skip
    called = session.called(10)
    session.tell(m.Called.of((*called[:9], (0,), (late,), *called[11:])))
    assert session.tell(d.Switched(session.caller, session.actor, 1, 2)) == []
    (running,) = {c.proc for c in session.commands if type(c) is m.Send and c[1][0] == late}
    commands = session.tell(m.Finished(running, late, (NOTHING,), 0, 0.0, ()))
    kinds = [type(c.message) for c in commands if isinstance(c, m.Send)]
    assert kinds == [m.Call, d.Clear]


def test_what_comes_by_a_line_is_cleared_when_what_came_before_will_never_be_sent() -> None:
    session = Session()
    session.tell(d.Dialled(session.caller, session.actor))
    late = session.scheduler.owned.ensure(id_of(50))
    late.count = 1
    called = session.called(10)
    session.tell(m.Called.of((*called[:9], (0,), (id_of(50),), *called[11:])))
    session.tell(d.Switched(session.caller, session.actor, 1, 1))
    commands = session.tell(m.Cancelled(session.caller, id_of(10), False, False))
    assert sent(commands, d.Clear) == [d.Clear(1, 1)]


def test_an_exposed_call_ends_as_its_caller_says() -> None:
    session = Session()
    session.exposed(10)
    assert session.value(10) is None
    session.settle(10, session.caller, ERROR, 1)
    assert session.value(10) == ERROR


def test_a_result_that_comes_before_its_call_is_kept_for_it() -> None:
    session = Session()
    session.settle(10, session.callee)
    assert session.value(10) is None
    session.exposed(10)
    assert session.value(10) == NOTHING


def test_an_early_result_goes_with_its_caller() -> None:
    session = Session()
    arena = session.scheduler.storage.memory.arena
    session.settle(10, session.callee, session.stored())
    assert arena.used
    session.tell(m.WorkerLost(session.caller, "it died"))
    assert not arena.used
    session.settle(11, session.callee, session.stored())
    assert not arena.used


def test_an_early_result_in_shared_memory_outlives_its_process() -> None:
    session = Session()
    stored = session.stored()
    session.settle(10, session.callee, stored)
    session.tell(m.WorkerLost(session.callee, "it died"))
    session.exposed(10)
    assert session.value(10) == stored
    assert session.scheduler.storage.memory.inside(id_of(10))
    session.scheduler.check()


def test_the_callers_of_a_process_that_is_gone_are_told() -> None:
    session = Session()
    session.tell(d.Dialled(session.caller, session.actor))
    commands = session.tell(m.WorkerLost(session.callee, "it died"))
    assert sent(commands, d.LineDown) == [d.LineDown(1, session.actor)]


def test_a_lost_call_of_a_dead_actor_fails() -> None:
    session = Session()
    session.exposed(10)
    session.tell(m.WorkerLost(session.callee, "it died"))
    assert session.value(10) is None, "its caller may have the result"
    session.lost(10, known=True)
    session.lost(11, known=False)
    for number in (10, 11):
        value = session.value(number)
        assert value is not None
        assert value[0] == m.ERROR


def test_the_result_of_a_call_outlives_its_callee() -> None:
    session = Session()
    session.exposed(10)
    session.tell(m.WorkerLost(session.callee, "it died"))
    session.settle(10, session.caller)
    assert session.value(10) == NOTHING
    assert session.lost(10, known=True) == []
    assert session.value(10) == NOTHING


def test_lost_calls_are_repeated_in_order_as_often_as_they_may() -> None:
    session = Session(restarts=1, retries=1)
    session.tell(m.WorkerLost(session.callee, "it died"))
    for number in (10, 11, 12):
        session.lost(number, known=False)
    session.tell(session.called(13))
    session.construct()
    calls = sent(session.commands, m.Call)
    assert [call.task for call in calls] == [id_of(number) for number in (10, 11, 12, 13)]


def test_a_call_that_never_left_costs_no_retry() -> None:
    session = Session(restarts=1)
    session.tell(m.WorkerLost(session.callee, "it died"))
    session.lost(10, known=False)
    session.lost(11, known=False, begun=False)
    session.construct()
    assert session.value(10) is not None
    assert [call.task for call in sent(session.commands, m.Call)] == [id_of(11)]


def test_what_a_dead_caller_had_exposed_fails() -> None:
    session = Session()
    session.exposed(10)
    session.scheduler.owned.lend(m.DRIVER, id_of(10))
    session.tell(m.WorkerLost(session.caller, "it died"))
    value = session.value(10)
    assert value is not None
    assert value[0] == m.ERROR


def test_a_result_that_asks_for_repetition_is_repeated_by_the_hub() -> None:
    session = Session(retries=1)
    session.exposed(10)
    session.settle(10, session.callee, ERROR, 2)
    assert [call.task for call in sent(session.commands, m.Call)] == [id_of(10)]
    session.tell(m.Finished(session.callee, id_of(10), (NOTHING,), 0, 0.0, ()))
    assert session.value(10) == NOTHING
