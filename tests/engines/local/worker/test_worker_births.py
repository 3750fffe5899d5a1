"""What it means that a worker process could not be started: decisions, without processes."""

import pytest

from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.scheduling.worker_scheduler import AGAIN_S
from tests.engines.local.scheduling.test_scheduler import NOTHING

WHY = "Too many open files"


def submit(scheduler: Scheduler, number: int, proc: int = m.DRIVER) -> list[m.Command]:
    values = {"proc": proc, "task": bytes([number]) * 16, "key": b"f", "name": f"f{number}"}
    values |= {"num_returns": 1, "shape": (), "retries": 0, "retry_on": False, "call": NOTHING}
    values |= {"call_id": None, "slots": (), "needs": (), "parent": None, "env": b""}
    event = m.Submitted(*(values.get(name) for name in m.Submitted.__annotations__))
    return handle(scheduler, event, 0.0)


def handle(scheduler: Scheduler, event: object, now: float) -> list[m.Command]:
    commands = scheduler.handle(event, now)
    scheduler.check()
    return commands


def kinds(commands: list[m.Command]) -> list[str]:
    return [type(command).__name__ for command in commands]


@pytest.fixture
def scheduler() -> Scheduler:
    """Task 1 runs in worker 1; worker 2 for task 2 could not be started."""
    scheduler = Scheduler({"CPU": UNIT})
    submit(scheduler, 1)
    assert kinds(submit(scheduler, 2)) == ["Spawn", "Send"]
    assert handle(scheduler, m.NotBorn(2, WHY), 0.1) == []
    return scheduler


def test_its_task_runs_without_a_retry_when_another_worker_is_free(scheduler: Scheduler) -> None:
    commands = handle(scheduler, m.Finished(1, b"\1" * 16, (NOTHING,), 0, 0.1, ()), 0.2)
    assert "Send" in kinds(commands)
    assert scheduler.tasks[b"\2" * 16].state == "running"


def test_no_other_is_started_until_one_is_gone_or_a_while_later(scheduler: Scheduler) -> None:
    assert submit(scheduler, 3) == []
    due = scheduler.deadline()
    assert due == pytest.approx(0.1 + AGAIN_S)
    assert kinds(handle(scheduler, m.Tick(None), due)).count("Spawn") == 2
    assert scheduler.deadline() is None


def test_a_lost_worker_makes_room_at_once(scheduler: Scheduler) -> None:
    assert "Spawn" in kinds(handle(scheduler, m.WorkerLost(1, "it was killed"), 0.2))


def test_its_task_fails_when_all_others_wait(scheduler: Scheduler) -> None:
    handle(scheduler, m.Blocked(1, ()), 0.2)
    handle(scheduler, m.Tick(None), 0.1 + AGAIN_S)
    commands = handle(scheduler, m.NotBorn(3, WHY), 0.8)
    assert "Resolve" in kinds(commands)
    kind, head, _, _ = scheduler.owned.objects[b"\2" * 16].value
    assert kind == m.ERROR
    assert WHY.encode() in head
