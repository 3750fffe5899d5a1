"""What waits for a task follows it to the worker that ran it, unless another has nothing to do."""

from __future__ import annotations

from heliostat._core.options import UNIT
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling.scheduler import Scheduler
from tests.engines.local.scheduling.simulated_world import NOTHING, make

CPUS = 2
FIRST, *AFTER = (bytes([number]) * 16 for number in range(1, 5))


def scheduler() -> Scheduler:
    found = Scheduler({"CPU": CPUS * UNIT})
    found.prestart()
    return found


def submit(to: Scheduler, task: bytes, *needs: bytes) -> list[m.Send]:
    event = make(
        m.Submitted, proc=m.DRIVER, task=task, num_returns=1, shape=(("CPU", UNIT),), retries=0,
        needs=needs, slots=tuple(range(len(needs))), call=(m.INLINE, b"", (), needs),
    )  # fmt: skip
    return [command for command in to.handle(event, 1.0) if type(command) is m.Send]


def finish(to: Scheduler, proc: int, task: bytes) -> dict[bytes, int]:
    """Which task is sent to which worker when this one has ended."""
    commands = to.handle(m.Finished(proc, task, (NOTHING,), 0, 1e-3, ()), 2.0)
    to.check()
    return {c.message.task: c.proc for c in commands if type(c) is m.Send}


def test_a_chain_stays_where_it_began() -> None:
    chain = scheduler()
    (sent,) = submit(chain, FIRST)
    previous = FIRST
    for task in AFTER:
        submit(chain, task, previous)
        previous = task
    previous = FIRST
    for task in AFTER:
        assert finish(chain, sent.proc, previous) == {task: sent.proc}
        previous = task


def test_of_two_that_waited_one_goes_to_the_idle_worker() -> None:
    fan = scheduler()
    (sent,) = submit(fan, FIRST)
    for task in AFTER:
        submit(fan, task, FIRST)
    went = finish(fan, sent.proc, FIRST)
    assert went[AFTER[0]] == sent.proc
    assert went[AFTER[1]] != sent.proc
