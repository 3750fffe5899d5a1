"""What waits for what, from the scheduler's tables alone."""

from typing import Any

import pytest

from heliostat._core.options import Place
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.scheduling.waits import Why, deadlock

CPU = (("CPU", 10_000),)
NOTHING: m.Value = (m.INLINE, b"", (), ())


def id_of(number: int) -> bytes:
    return number.to_bytes(12, "big") + bytes(4)


class World:
    """A scheduler, and short ways to tell it things."""

    def __init__(self, cpus: int = 4) -> None:
        self.scheduler = Scheduler({"CPU": cpus * 10_000})
        self.sent: list[Any] = []

    def tell(self, event: Any) -> None:
        for command in self.scheduler.handle(event, 100.0):
            if isinstance(command, m.Send):
                self.sent.append(command)

    def task(
        self,
        number: int,
        *needs: int,
        name: str = "",
        proc: int = 0,
        place: Place | None = None,
    ) -> bytes:
        id_ = id_of(number)
        ids = tuple(map(id_of, needs))
        self.tell(
            m.Submitted(
                proc, id_, b"k", name or f"task {number}", 1, CPU, 0, False, NOTHING, None,
                tuple(range(len(ids))), ids, None, place, 0, b"",
            )
        )  # fmt: skip
        return id_

    def actor(
        self, number: int, *, free: bool = False, shape: m.Shape = (), made: bool = True
    ) -> int:
        """An actor that is there, or is being made; the number of its process."""
        id_ = id_of(number)
        self.tell(
            m.Created(
                0, id_, b"k", f"A{number}", shape, 0, 0, 0, "", "", False, (), free, b"", NOTHING,
                None, (), (), None, None, b"",
            )
        )  # fmt: skip
        proc = self.proc_of(id_)
        if made:
            self.tell(m.Finished(proc, id_, (NOTHING,), 0, 0.0, ()))
        return proc

    def group(self, number: int, *cpus: int) -> bytes:
        id_ = id_of(number)
        bundles = tuple((("CPU", count * 10_000),) for count in cpus)
        grouped = m.Grouped(0, id_, bundles, "PACK", f"group {number}", "", False, NOTHING)
        self.tell(m.Asked(0, 0, "group", tuple(grouped)))
        return id_

    def call(self, number: int, actor: int, *, proc: int = 0) -> bytes:
        id_ = id_of(number)
        self.tell(
            m.Called(
                proc,
                id_,
                id_of(actor),
                f"call{number}",
                1,
                0,
                False,
                NOTHING,
                None,
                (),
                (),
                None,
                "",
                0,
                0,
            )
        )
        return id_

    def proc_of(self, id_: bytes) -> int:
        self.scheduler.plain.unfold()
        return self.scheduler.tasks[id_].worker.proc

    def waits(self, proc: int, *ids: bytes) -> str | None:
        """A process says that it waits; the circle it is told about, if any."""
        self.sent.clear()
        self.tell(m.Blocked(proc, ()))
        self.tell(m.Waits(proc, ids))
        texts = [s.message.text for s in self.sent if isinstance(s.message, m.Deadlocked)]
        return texts[0] if texts else None

    def why(self, id_: bytes) -> str:
        workers = self.scheduler.workers
        self.scheduler.plain.unfold_all()
        return Why(self.scheduler, {proc: 1000 + proc for proc in workers}, 107.0).reason(id_)


@pytest.fixture
def world() -> World:
    return World()


def test_a_task_that_waits_for_a_running_one_is_no_circle(world):
    a, b = world.task(1), world.task(2)
    assert world.waits(world.proc_of(a), b) is None


def test_two_tasks_that_wait_for_each_other_are_a_circle(world):
    a, b = world.task(1), world.task(2)
    assert world.waits(world.proc_of(a), b) is None
    circle = world.waits(world.proc_of(b), a)
    assert circle == (
        "  task 2 waits for the result of task 1\n  task 1 waits for the result of task 2"
    )


def test_whoever_may_still_get_one_of_several_is_in_no_circle(world):
    a, b, c = world.task(1), world.task(2), world.task(3)
    assert world.waits(world.proc_of(a), b) is None
    assert world.waits(world.proc_of(b), a, c) is None


def test_an_argument_may_close_a_circle(world):
    a = world.task(1)
    b = world.task(2, 1)
    circle = world.waits(world.proc_of(a), b)
    assert circle is not None
    assert "task 2 needs as an argument the result of task 1" in circle


def test_an_actor_that_waits_for_itself_is_a_circle(world):
    proc = world.actor(1)
    first = world.call(2, 1)
    second = world.call(3, 1, proc=proc)
    circle = world.waits(world.proc_of(first), second)
    assert circle is not None
    assert "A1.call3 comes in the same process after A1.call2" in circle


def test_an_actor_whose_calls_overlap_may_wait_for_itself_in_a_thread(world):
    proc = world.actor(1, free=True)
    world.call(2, 1)
    world.call(3, 1, proc=proc)
    assert deadlock(world.scheduler, proc) is None


def test_an_event_loop_that_waits_for_its_own_call_is_a_circle(world):
    proc = world.actor(1, free=True)
    world.call(2, 1)
    second = world.call(3, 1, proc=proc)
    circle = world.waits(proc, second)
    assert circle is not None
    assert "A1.call3 needs the event loop of its process, which is blocked by A1.call2" in circle


def test_a_circle_ends_when_somebody_goes_on(world):
    a, b = world.task(1), world.task(2)
    assert world.waits(world.proc_of(a), b) is None
    world.tell(m.Waits(world.proc_of(a), ()))
    assert world.waits(world.proc_of(b), a) is None


def test_a_ready_task_may_run_as_soon_as_somebody_blocks():
    world = World(cpus=1)
    a, b = world.task(1), world.task(2)
    assert world.waits(world.proc_of(a), b) is None


def test_why_names_what_runs_and_for_how_long(world):
    a = world.task(1, name="train")
    proc = world.proc_of(a)
    assert world.why(a) == f"train runs for 7 s in worker process {1000 + proc}"
    b = world.task(2)
    world.waits(proc, b)
    assert world.why(a).endswith("where it waits for task 2")
    assert world.why(id_of(99)) == "nothing that runs makes it"


def test_why_names_the_constructor_that_a_call_waits_for(world):
    proc = world.actor(1, made=False)
    said = f"A1.call2 waits for its actor, which is being constructed for 7 s in worker process {1000 + proc}"
    assert world.why(world.call(2, 1)) == said


def test_why_follows_arguments_and_resources():
    world = World(cpus=1)
    a = world.task(1, name="load")
    b = world.task(2, name="big")
    c = world.task(3, 1, name="use")
    proc = world.proc_of(a)
    assert world.why(b) == ("big waits for resources (CPU: 1 asked for, 0 free), held by load")
    assert world.why(c) == (
        f"use waits for its arguments: load runs for 7 s in worker process {1000 + proc}"
    )


def test_why_says_what_an_actor_is_busy_with(world):
    proc = world.actor(1)
    world.call(2, 1)
    late = world.call(3, 1)
    assert world.why(late) == (
        f"A1.call3 comes after A1.call2, which runs for 7 s in worker process {1000 + proc}"
    )


def test_a_group_waits_for_what_tasks_and_other_groups_hold(world):
    world.group(1, 2)
    world.task(2, name="hog")
    group = world.group(3, 1, 1)
    assert world.why(group) == (
        "placement group group 3 waits for resources (CPU: 2 asked for, 1 free), held by hog, "
        "placement group group 1"
    )


def test_a_task_in_a_pending_group_waits_for_what_the_group_waits_for(world):
    world.group(1, 4)
    group = world.group(2, 1)
    task = world.task(3, name="inside", place=(group, -1, False))
    assert world.why(task) == (
        "inside waits for placement group group 2, which waits for resources (CPU: 1 asked for, 0 "
        "free), held by placement group group 1"
    )


def test_a_task_in_a_full_bundle_waits_for_who_is_in_it(world):
    group = world.group(1, 1, 1)
    world.task(2, name="first", place=(group, 0, False))
    second = world.task(3, name="second", place=(group, 0, False))
    third = world.task(4, name="third", place=(group, 1, False))
    assert world.scheduler.tasks[third].state == "running"
    assert world.why(second) == (
        "second waits for resources (CPU: 1 asked for, 0 free), held by first in a bundle of "
        "placement group group 1"
    )


def test_what_is_queued_behind_a_waiting_task_will_be_given_back_and_is_no_deadlock() -> None:
    world = World(cpus=1)
    first = world.task(1)
    world.tell(m.Finished(world.proc_of(first), first, (NOTHING,), 0, 0.0001, ()))
    waiting = world.task(2)
    proc = world.proc_of(waiting)
    behind = [world.task(number) for number in (3, 4)]
    world.scheduler.workers[proc].tasks.append(world.scheduler.tasks[behind[0]])
    task = world.scheduler.ready[CPU, b""].popleft()
    task.move("running")
    task.worker = world.scheduler.workers[proc]  # it was sent ahead
    world.tell(m.Blocked(proc, ()))  # and had not arrived when the first began to wait
    world.tell(m.Waits(proc, (behind[0],)))
    assert not any(isinstance(command.message, m.Deadlocked) for command in world.sent)


def test_a_task_may_wait_for_a_group_as_an_argument(world):
    world.group(1, 4)
    world.group(2, 1)
    task = world.task(3, 2, name="user")
    assert "waits for its arguments: placement group group 2 waits for resources" in world.why(task)


def test_only_a_pending_group_is_not_there(world):
    created, pending = world.group(1, 4), world.group(2, 1)
    why = Why(world.scheduler, {}, 0.0)
    assert (why.absent(created), why.absent(pending)) == (False, True)


def test_an_actor_that_nobody_knows_any_more_holds_what_it_has_until_its_process_ends():
    world = World(cpus=1)
    world.actor(1, shape=CPU)
    waiting = world.task(2)
    assert "held by actor A1" in world.why(waiting)
    world.tell(m.Dropped(0, ((id_of(1), 1),)))
    assert "held by an actor that ends" in world.why(waiting)
