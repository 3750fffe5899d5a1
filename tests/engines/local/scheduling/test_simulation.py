"""Thousands of seeded histories: whatever happens in whatever order, every task ends, once.

A failure names its seed; `history(seed)` runs it again.
"""

import pytest

from heliostat._engines.local import messages as m
from tests.engines.local.scheduling.simulated import Simulation
from tests.engines.local.scheduling.simulated_world import ONE_CPU, TOTAL, make

FAST, SLOW = 1_200, 30_000
PARTS = 10
STEPS = 300
ACTOR = b"actor" + bytes(11)


def history(seed: int) -> None:
    """One history, to its end."""
    simulation = Simulation(seed)
    for _ in range(simulation.random.randint(5, STEPS)):
        simulation.step()
    if seed % 4 == 0:
        simulation.reset()
    else:
        end(simulation)
    nothing_is_left(simulation)


def end(simulation: Simulation) -> None:
    """Nothing goes wrong any more, and then the driver lets go of everything."""
    scheduler = simulation.scheduler
    simulation.settle()
    simulation.drop_all()
    simulation.settle()
    for group in simulation.groups:
        simulation.tell(m.Ungrouped(group))
    simulation.settle()
    if scheduler.tasks or scheduler.actors.actors:
        # Detached actors live on; and users can lock themselves up: a task wants the CPUs of an
        # actor that it keeps alive.
        for actor in sorted(scheduler.actors.actors):
            simulation.tell(m.Killed(m.DRIVER, actor, False))
            simulation.settle()
    lost = [task.hex() for task in simulation.asked if task in scheduler.tasks]
    assert not lost, f"tasks that never ended: {lost}"


def nothing_is_left(simulation: Simulation) -> None:
    scheduler = simulation.scheduler
    simulation.drop_all()
    simulation.settle()
    assert not scheduler.tasks, "tasks that never ended"
    assert not scheduler.plain.calls, "calls that never ended"
    assert not scheduler.plain.values, "values that nobody holds"
    assert not scheduler.waiting, "tasks that wait for what will never come"
    assert not any(scheduler.ready.values()), "tasks that wait for resources that are free"
    assert scheduler.resources.free == TOTAL, "resources that nobody holds"
    held = {
        id_.hex(): entry.count
        for id_, entry in scheduler.owned.objects.items()
        if id_ not in simulation.groups
    }
    assert not held, f"objects that nobody holds: {held}"
    assert not scheduler.actors.names
    storage = simulation.scheduler.storage
    assert not storage.memory.arena.used, "memory that nobody can read"
    assert not simulation.scheduler.lineage.origins, "how things were made that nobody has"


def run(seeds: range) -> None:
    for seed in seeds:
        try:
            history(seed)
        except Exception as error:
            raise AssertionError(f"history({seed}) fails: {error!r}") from error


def test_histories_end_well() -> None:
    run(range(0, FAST, PARTS))


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("part", range(1, PARTS))
def test_every_history_ends_well(part: int) -> None:
    run(range(part, FAST, PARTS))


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_many_more_histories_end_well(part: int) -> None:
    run(range(FAST + part, SLOW, PARTS))


# What histories have shown, told alone.


def test_a_named_actor_may_take_the_result_of_a_plain_call() -> None:
    world, result, named = Simulation(0), b"result" + bytes(10), b"named" + bytes(11)
    world.tell(make(m.Created, proc=m.DRIVER, task=ACTOR, shape=()))
    world.refs[ACTOR] = 1
    world.settle()
    world.tell(
        make(
            m.Called, proc=m.DRIVER, task=result, actor=ACTOR, method="g", num_returns=1, retries=0
        )
    )
    world.refs[result] = world.refs[named] = 1
    assert result in world.scheduler.plain.calls
    created = make(
        m.Created, proc=m.DRIVER, task=named, public_name="one", shape=(), slots=(0,),
        needs=(result,), call=(m.INLINE, b"", (), (result,)),
    )  # fmt: skip
    world.tell(m.Asked(m.DRIVER, 1, "create", (tuple(created), True)))
    assert result not in world.scheduler.plain.calls
    end(world)
    nothing_is_left(world)


def test_a_detached_actor_is_forgotten_when_it_is_dead() -> None:
    world = Simulation(0)
    world.tell(make(m.Created, proc=m.DRIVER, task=ACTOR, shape=(), restarts=0, detached=True))
    world.tell(m.Dropped(m.DRIVER, ((ACTOR, 1),)))
    world.settle()
    assert world.scheduler.actors.actors
    world.tell(m.Killed(m.DRIVER, ACTOR, False))
    world.settle()
    assert not world.scheduler.actors.actors
    assert not world.scheduler.owned.objects


def test_who_asks_for_a_handle_of_an_actor_that_is_gone_gets_an_error() -> None:
    world = Simulation(0)
    (answer,) = world.tell(m.Asked(m.DRIVER, 1, "actor", ACTOR))
    assert "no handle" in str(answer.error)


def test_a_retired_worker_that_is_stopped_gives_its_cpus_back() -> None:
    world = Simulation(0)
    world.refs[ACTOR] = 1
    world.tell(make(m.Created, proc=m.DRIVER, task=ACTOR, shape=ONE_CPU, restarts=0))
    (process,) = (p for p in world.processes.values() if p.inbox)
    world.settle()
    process.stopped = True
    world.drop_all()  # it is told to stop, and cannot hear it
    world.settle()
    assert world.scheduler.resources.free == TOTAL


def test_a_seed_says_all_of_a_history() -> None:
    first, second = Simulation(7), Simulation(7)
    for _ in range(STEPS):
        first.step()
        second.step()
    assert first.history == second.history
    assert len(first.history) > STEPS / 4


def test_cancelling_what_gives_memory_back_does_not_stop_it() -> None:
    history(29420)
