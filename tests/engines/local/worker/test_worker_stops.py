"""What it means that a worker or a zygote is stopped, as by SIGSTOP: a decision, without processes."""

import pytest

from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.processes.zygote_stops import PATIENCE_S, ZygoteStops
from heliostat._engines.local.scheduling.scheduler import Scheduler
from heliostat._engines.local.scheduling.worker_scheduler import STOPPED_S
from tests.engines.local.scheduling.test_scheduler import NOTHING, SHAPES

TASK = b"task" + bytes(12)


@pytest.fixture
def scheduler() -> Scheduler:
    """With a task that runs in worker 1."""
    scheduler = Scheduler({"CPU": UNIT})
    values = {"proc": m.DRIVER, "task": TASK, "key": b"f", "name": "f", "num_returns": 1}
    values |= {"shape": SHAPES[0], "retries": 1, "retry_on": False, "call": NOTHING}
    values |= {"call_id": None, "slots": (), "needs": (), "parent": None, "env": b""}
    scheduler.handle(m.Submitted(*(values.get(name) for name in m.Submitted.__annotations__)), 0.0)
    return scheduler


def kills(scheduler: Scheduler, procs: tuple[int, ...], now: float) -> list[int]:
    commands = scheduler.handle(m.Stopped(procs), now)
    scheduler.check()
    return [command.proc for command in commands if isinstance(command, m.Kill)]


def test_a_worker_that_stays_stopped_with_work_is_ended_once(scheduler: Scheduler) -> None:
    assert kills(scheduler, (1,), 1.0) == []
    assert kills(scheduler, (1,), 1.0 + STOPPED_S / 2) == []
    assert kills(scheduler, (1,), 1.0 + STOPPED_S) == [1]
    assert kills(scheduler, (1,), 2.0 + STOPPED_S) == []
    assert "stopped" in scheduler.workers[1].killed


def test_one_that_goes_on_meanwhile_is_left_alone(scheduler: Scheduler) -> None:
    assert kills(scheduler, (1,), 1.0) == []
    assert kills(scheduler, (), 2.0) == []
    assert kills(scheduler, (1,), 1.0 + STOPPED_S) == []


def test_one_without_work_may_be_stopped(scheduler: Scheduler) -> None:
    scheduler.handle(m.Finished(1, TASK, (NOTHING,), 0, 0.1, ()), 0.5)
    assert kills(scheduler, (1,), 1.0) == []
    assert kills(scheduler, (1,), 9.0 + STOPPED_S) == []


def test_a_zygote_that_stays_stopped_is_continued_and_may_be_stopped_again() -> None:
    stops = ZygoteStops()
    assert stops.look([5, 6], 1.0) == []
    assert stops.look([6], 1.5) == []
    assert stops.look([5, 6], 1.0 + PATIENCE_S) == [6]
    assert stops.look([5], 1.2 + PATIENCE_S) == []
    assert stops.look([5, 6], 1.0 + 2 * PATIENCE_S) == [5]
    assert stops.look([6], 1.0 + 3 * PATIENCE_S) == [6]
