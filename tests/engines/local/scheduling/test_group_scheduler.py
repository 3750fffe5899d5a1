"""Placement groups, decided: when they get their resources, who takes from them, what removal means."""

from typing import Any

import pytest

from heliostat._core.options import UNIT, Place
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling import group_scheduler
from heliostat._engines.local.scheduling.groups import MOVES, Group
from heliostat._engines.local.scheduling.scheduler import Scheduler

CPU: m.Shape = (("CPU", UNIT),)
NOTHING: m.Value = (m.INLINE, b"", (), ())


def id_of(number: int) -> bytes:
    return number.to_bytes(12, "big") + bytes(4)


def grouped(number: int, *bundles: m.Shape, name: str = "") -> m.Grouped:
    return m.Grouped(m.DRIVER, id_of(number), bundles, "PACK", name, "", False, NOTHING)


class World:
    """A scheduler, and short ways to tell it things."""

    def __init__(self, cpus: int = 4) -> None:
        self.scheduler = Scheduler({"CPU": cpus * UNIT})
        self.groups = self.scheduler.groups.groups

    def tell(self, event: Any) -> list[Any]:
        commands = self.scheduler.handle(event, 0.0)
        self.scheduler.check()
        return commands

    def group(self, number: int, *bundles: m.Shape, name: str = "") -> Group:
        asked = tuple(grouped(number, *bundles, name=name))
        answers = self.tell(m.Asked(m.DRIVER, 0, "group", asked))
        error = next(command.error for command in answers if isinstance(command, m.Answer))
        if error is not None:
            raise error
        return self.groups[id_of(number)]

    def task(self, number: int, place: Place | None, shape: m.Shape = CPU) -> Any:
        self.tell(
            m.Submitted(
                m.DRIVER, id_of(number), b"k", "f", 1, shape, -1, False, NOTHING, None, (), (), None,
                place, 0, b"",
            )
        )  # fmt: skip
        return self.scheduler.tasks.get(id_of(number))

    def actor(self, number: int, place: Place | None, needs: tuple[bytes, ...] = ()) -> Any:
        """An actor that waits for its CPU, which nobody gives back."""
        self.tell(
            m.Created(
                m.DRIVER, id_of(number), b"k", "A", (("CPU", 2 * UNIT),), 0, 0, 0, "", "", False, (),
                False, b"", NOTHING, None, tuple(range(len(needs))), needs, None, place, b"",
            )
        )  # fmt: skip
        return self.scheduler.actors.actors[id_of(number)]

    def call(self, number: int, actor: Any) -> None:
        self.tell(
            m.Called(
                m.DRIVER, id_of(number), actor.id, "method", 1, 0, False, NOTHING, None, (), (), None, "",
                0, 0,
            )
        )  # fmt: skip

    def free(self) -> float:
        return self.scheduler.resources.free["CPU"] / UNIT


@pytest.fixture
def world() -> World:
    return World()


def test_bundles_are_taken_all_or_none(world):
    world.task(1, None, (("CPU", 2 * UNIT),))
    group = world.group(2, CPU, (("CPU", 2 * UNIT),))
    assert group.state == "pending"
    assert world.free() == 2


def test_a_group_gets_its_resources_before_tasks_that_wait(world):
    hog = world.task(1, None, (("CPU", 4 * UNIT),))
    late = world.task(2, None)
    group = world.group(3, *[CPU] * 4)
    assert (late.state, group.state) == ("ready", "pending")
    world.tell(m.Finished(hog.worker.proc, hog.id, (NOTHING,), 0, 0.0, ()))
    assert (late.state, group.state) == ("ready", "created")


def test_a_smaller_group_does_not_wait_behind_one_that_cannot_be_made_yet(world):
    world.task(1, None)
    large, small = world.group(2, *[CPU] * 4), world.group(3, CPU)
    assert (large.state, small.state) == ("pending", "created")


def test_the_object_of_a_group_is_its_handle_once_it_is_created(world):
    group = world.group(1, CPU)
    assert world.scheduler.owned.objects.get(group.id).value == NOTHING


def test_work_for_any_bundle_takes_the_first_with_room(world):
    group = world.group(1, CPU, CPU)
    tasks = [world.task(number, (group.id, -1, False)) for number in (2, 3, 4)]
    assert [task.state for task in tasks] == ["running", "running", "ready"]
    assert [tasks[0].worker.bundle, tasks[1].worker.bundle] == group.bundles


def test_work_outside_is_not_given_to_a_worker_that_has_a_bundle(world):
    group = world.group(1, *[CPU] * 4)
    inside = world.task(2, (group.id, 0, False))
    outside = world.task(3, None)
    world.tell(m.Finished(inside.worker.proc, inside.id, (NOTHING,), 0, 0.0, ()))
    assert outside.state == "ready"


def test_a_blocked_task_lends_its_cpu_within_its_bundle(world):
    group = world.group(1, CPU, *[CPU] * 3)
    parent = world.task(2, (group.id, 0, True))
    child, outside = world.task(3, (group.id, 0, True)), world.task(4, None)
    world.tell(m.Blocked(parent.worker.proc, ()))
    assert (child.state, outside.state) == ("running", "ready")


def test_a_removed_group_holds_its_resources_until_its_processes_are_gone(world):
    group = world.group(1, CPU, CPU)
    task = world.task(2, (group.id, 0, False))
    proc = task.worker.proc
    assert m.Kill(proc) in world.tell(m.Ungrouped(group.id))
    assert (group.state, world.free()) == ("removing", 2)
    world.tell(m.WorkerLost(proc, "it was killed"))
    assert (group.state, world.free(), task.state) == ("removed", 4, "done")


def test_a_task_that_comes_back_to_a_removed_group_fails(world):
    group = world.group(1, CPU)
    retried, returned = (world.task(number, (group.id, 0, False)) for number in (2, 3))
    proc = retried.worker.proc
    error: m.Value = (m.ERROR, b"", (), ())
    world.tell(m.Finished(proc, retried.id, (error,), 2, 0.0, ()))
    assert retried.state == "running", "once more, and the other is sent ahead"
    assert returned.state == "running"
    world.tell(m.Ungrouped(group.id))
    world.tell(m.Returned(proc, (returned.id,)))
    world.tell(m.Finished(proc, retried.id, (error,), 2, 0.0, ()))
    assert (retried.state, returned.state) == ("done", "done")


def test_an_actor_may_die_of_the_end_of_another_in_its_group(world):
    group = world.group(1, CPU)
    place = (group.id, 0, False)
    first = world.actor(2, place)
    world.call(3, first)
    second = world.actor(4, place, needs=(id_of(3),))
    world.tell(m.Ungrouped(group.id))
    assert {first.state, second.state} == {"dead"}


def test_the_name_of_a_removed_group_is_free(world):
    group = world.group(1, CPU, name="one")
    with pytest.raises(ValueError, match="'one' exists already"):
        world.group(2, CPU, name="one")
    world.tell(m.Ungrouped(group.id))
    assert world.group(3, CPU, name="one").state == "created"


def test_removal_lets_the_next_group_in(world):
    first, second = world.group(1, *[CPU] * 3), world.group(2, CPU, CPU)
    assert second.state == "pending"
    world.tell(m.Ungrouped(first.id))
    assert (first.state, second.state) == ("removed", "created")


def test_only_so_many_removed_groups_are_remembered(world, monkeypatch):
    monkeypatch.setattr(group_scheduler, "KEPT", 2)
    for number in range(1, 5):
        world.group(number, CPU)
        world.tell(m.Ungrouped(id_of(number)))
    assert list(world.groups) == [id_of(3), id_of(4)]
    assert world.task(9, (id_of(1), 0, False)) is None, "it failed: its group is not known"


@pytest.mark.parametrize("state", ["pending", "created", "removing", "removed"])
def test_no_state_is_left_but_by_the_table(state):
    group = Group(grouped(1, CPU))
    for target in ("pending", "created", "removing", "removed"):
        group.state = state
        if (state, target) in MOVES:
            group.move(target)
        else:
            with pytest.raises(AssertionError):
                group.move(target)
