"""Calls of the driver's that are kept without a task: what is told of them, and when they unfold."""

from typing import Any

import pytest

from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler
from tests.engines.local.scheduling.simulated_world import NOTHING, make

ACTOR, CALL, OTHER = (bytes([number]) * 16 for number in (1, 2, 3))
ONE: m.Value = (m.INLINE, b"1", (), ())
HELD: m.Value = (m.INLINE, b"2", (), (OTHER,))


class World:
    """One actor that is alive."""

    def __init__(self, **options: Any) -> None:
        self.scheduler = Scheduler({"CPU": UNIT})
        self.plain = self.scheduler.plain
        self.scheduler.prestart()
        made = {"retries": 0, "restarts": 0, "shape": (), **options}
        self.tell(make(m.Created, proc=m.DRIVER, task=ACTOR, **made))
        (self.proc,) = [w.proc for w in self.scheduler.workers.values() if w.actor == ACTOR]
        self.finish(ACTOR, NOTHING)
        self.actor = self.scheduler.actors.actors[ACTOR]

    def tell(self, event: Any) -> list[Any]:
        commands = self.scheduler.handle(event, 1.0)
        self.scheduler.check()
        return commands

    def call(self, task: bytes = CALL, **fields: Any) -> list[Any]:
        asked = {
            "proc": m.DRIVER, "num_returns": 1, "retries": m.AS_THE_ACTOR, "method": "f",
            "line": 0, "after": 0, **fields,
        }  # fmt: skip
        return self.tell(make(m.Called, task=task, actor=ACTOR, **asked))

    def finish(self, task: bytes, value: m.Value, failure: int = 0) -> list[Any]:
        return self.tell(m.Finished(self.proc, task, (value,), failure, 0.5, ()))

    def drop(self, *ids: bytes) -> list[Any]:
        return self.tell(m.Dropped(m.DRIVER, tuple((id_, 1) for id_ in ids)))


@pytest.fixture
def world() -> World:
    return World()


def test_a_call_and_its_value_are_all_that_is_kept(world: World) -> None:
    (sent,) = world.call()
    assert sent.message.task == CALL
    assert CALL not in world.scheduler.tasks
    assert CALL not in world.scheduler.owned.objects
    (resolved,) = world.finish(CALL, ONE)
    assert resolved == m.Resolve(CALL, ONE)
    assert world.plain.values == {CALL: ONE}
    assert world.scheduler.ended[-1][1] == "f.f"
    world.drop(CALL)
    assert not world.plain.knows(CALL)


def test_what_was_dropped_before_it_ended_leaves_nothing(world: World) -> None:
    world.call()
    world.drop(CALL)
    assert world.finish(CALL, ONE) == [m.Resolve(CALL, ONE)]
    assert not world.plain.values
    assert not world.plain.dropped


@pytest.mark.parametrize(
    "fields",
    [{"num_returns": 2}, {"needs": (OTHER,)}, {"call": HELD}, {"parent": OTHER}],
    ids=["two results", "a need", "a reference", "a parent"],
)
def test_a_call_that_others_depend_on_is_a_task(world: World, fields: dict[str, Any]) -> None:
    world.tell(m.Put(m.DRIVER, OTHER, ONE))
    world.call(**fields)
    assert CALL in world.scheduler.tasks


def test_a_call_behind_one_that_waits_is_a_task(world: World) -> None:
    world.tell(make(m.Submitted, proc=m.DRIVER, task=OTHER, shape=(("CPU", UNIT),), num_returns=1))
    waits, behind = bytes([8]) * 16, bytes([9]) * 16
    world.call(waits, needs=(OTHER,))
    world.call(behind)
    assert [task.id for task in world.actor.queue] == [waits, behind]


@pytest.mark.parametrize(
    ("value", "failure"), [(HELD, 0), ((m.STORED, 0, (8,), ()), 0)], ids=["references", "memory"]
)
def test_a_value_that_holds_something_is_an_object(
    world: World, value: m.Value, failure: int
) -> None:
    world.tell(m.Put(m.DRIVER, OTHER, ONE))
    if value[0] == m.STORED:
        (answer,) = world.tell(m.Reserve(world.proc, 1, 8, None))
        assert answer.error is None
    world.call()
    world.finish(CALL, value, failure)
    assert world.scheduler.owned.objects[CALL].value == value


def test_a_call_that_may_be_tried_again_is_sent_again() -> None:
    world = World(call_retries=1)
    world.call(retry_on=True)
    again = world.finish(CALL, (m.ERROR, b"", (), ()), failure=2)
    assert [command.message.task for command in again] == [CALL]
    assert world.finish(CALL, ONE) == [m.Resolve(CALL, ONE)]


def test_a_call_whose_process_dies_fails(world: World) -> None:
    world.call()
    commands = world.tell(m.WorkerLost(world.proc, "SIGKILL"))
    (failed,) = [c for c in commands if isinstance(c, m.Resolve) and c[0] == CALL]
    assert failed[1][0] == m.ERROR
    assert not world.plain.calls


def test_an_actor_ends_after_its_calls_when_its_last_handle_is_gone(world: World) -> None:
    world.call()
    assert world.drop(ACTOR) == []
    assert world.actor.ending
    commands = world.finish(CALL, ONE)
    assert any(isinstance(c, m.Send) and isinstance(c.message, m.Stop) for c in commands)


def test_who_asks_sees_calls_in_the_order_in_which_they_were_sent(world: World) -> None:
    first, second, third = (bytes([number]) * 16 for number in (5, 6, 7))
    world.call(first)
    world.call(second, num_returns=2)
    world.call(third)
    world.plain.unfold_all()
    assert list(world.actor.calls) == [first, second, third]
    assert world.scheduler.staff.running_in(world.actor.calls[first].worker).id == first


def test_unfolded_calls_end_as_tasks_do(world: World) -> None:
    world.call()
    world.drop(CALL)
    world.plain.unfold_all()
    world.finish(CALL, ONE)
    assert CALL not in world.scheduler.tasks
    assert CALL not in world.scheduler.owned.objects
    world.call(OTHER)
    world.finish(OTHER, ONE)
    world.plain.unfold((OTHER,))
    assert world.scheduler.owned.objects[OTHER].value == ONE
    world.drop(OTHER)
    assert OTHER not in world.scheduler.owned.objects
