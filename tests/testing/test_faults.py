"""Faults that a test orders: what can be said, and that they strike where and when they should."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import heliostat as ray
from heliostat._core.fault_plan import ACTIONS, PLACES, parse
from heliostat.exceptions import ActorDiedError, WorkerCrashedError
from heliostat.testing._session import Tally
from heliostat.testing.clock import until
from heliostat.util import state


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    yield
    ray.shutdown()


@ray.remote(max_retries=0)
def note(tally: Tally) -> int:
    """Count one more."""
    return tally.add()


@ray.remote
class Actor:
    """As the task."""

    def note(self, tally: Tally) -> int:
        return tally.add()

    async def note_async(self, tally: Tally) -> int:
        return tally.add()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("place", PLACES)
def test_every_action_can_be_had_at_every_place(action: str, place: str) -> None:
    from heliostat import _faults

    try:
        (fault,) = _faults.parse(parse([f"{action}:{place}:0.5"], 3))
        assert fault.name == PLACES[place]
    finally:
        _faults.clear()


@pytest.mark.parametrize(
    ("faults", "error", "named"),
    [
        (["boom:task:0.1"], ValueError, "boom"),
        (["kill:lunch:0.1"], ValueError, "lunch"),
        (["kill:task"], ValueError, "ACTION:PLACE:HOW_OFTEN"),
        (["kill:task:often"], ValueError, "often"),
        (["kill:task:1.5"], ValueError, "at most 1"),
        (["kill:task:#0"], ValueError, "#0"),
        (["kill=3:task:0.1"], ValueError, "kill=3"),
        ("kill:task:0.1", TypeError, "list"),
        ([3], TypeError, "list"),
    ],
)
def test_what_cannot_be_read_is_named_and_starts_nothing(
    faults: object, error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        ray.init(faults=faults)  # type: ignore[arg-type]  # misused on purpose
    assert not ray.is_initialized()


def test_a_seed_that_is_no_number_and_an_engine_without_workers_are_refused() -> None:
    with pytest.raises(TypeError, match="fault_seed"):
        ray.init(faults=["kill:task:0.1"], fault_seed="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inline"):
        ray.init(faults=["kill:task:0.1"], engine="inline")


@pytest.mark.parametrize(
    ("fault", "named", "counted"),
    [
        ("kill:task:1", "SIGKILL", 0),
        ("segv:task:1", "SIGSEGV", 0),
        ("exit:task:1", "exit code 1", 0),
        ("kill:result:1", "SIGKILL", 1),
        ("stop:result:1", "SIGSTOP", 1),
    ],
)
def test_a_task_meets_its_fault_at_its_place(
    fault: str, named: str, counted: int, tmp_path: Path
) -> None:
    tally = Tally(tmp_path)
    ray.init(num_cpus=1, faults=[fault])
    with pytest.raises(WorkerCrashedError, match=named):
        ray.get(note.remote(tally), timeout=30)
    assert tally.count() == counted


def test_a_fault_strikes_while_the_code_runs(tmp_path: Path) -> None:
    tally = Tally(tmp_path)

    @ray.remote(max_retries=0)
    def work() -> None:
        tally.add()
        while True:
            os.getpid()

    ray.init(num_cpus=1, faults=["kill:code:1"])
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        ray.get(work.remote(), timeout=30)
    assert tally.count() <= 1  # within some milliseconds: it may not have come so far


@pytest.mark.parametrize("method", ["note", "note_async"])
def test_calls_of_actors_meet_theirs(method: str, tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    ray.init(num_cpus=2, faults=["raise:call:#1", "kill:call:#3", "raise:task:1"])
    actor = Actor.remote()
    with pytest.raises(RuntimeError, match="injected"):
        ray.get(getattr(actor, method).remote(tally), timeout=30)
    assert ray.get(getattr(actor, method).remote(tally), timeout=30) == 1
    with pytest.raises(ActorDiedError, match="SIGKILL"):
        ray.get(getattr(actor, method).remote(tally), timeout=30)
    with pytest.raises(RuntimeError, match="injected"):
        ray.get(note.remote(tally), timeout=30)


def test_the_same_seed_strikes_the_same_tasks(tmp_path: Path) -> None:
    def strikes(seed: int) -> list[bool]:
        tally = Tally(tmp_path, str(seed))
        with ray.init(num_cpus=1, faults=["raise:task:0.4"], fault_seed=seed):
            found = []
            for _ in range(21):  # one at a time: what a slow worker gives back may run later
                try:
                    ray.get(note.remote(tally), timeout=30)
                    found.append(False)
                except RuntimeError:
                    found.append(True)
            return found

    assert strikes(1) == strikes(1) != strikes(2)
    assert 2 < sum(strikes(1)) < 18


@pytest.mark.parametrize("place", ["task", "code", "result", "write"])
def test_no_object_is_torn_wherever_its_worker_dies(place: str) -> None:
    @ray.remote(max_retries=-1)
    def large(x: int) -> bytes:
        return bytes([x]) * 1_000_000

    @ray.remote(max_retries=-1)
    def measure(value: bytes) -> tuple[int, int]:
        return len(value), sum(value)

    ray.init(num_cpus=2, object_store_memory=64 << 20, faults=[f"kill:{place}:0.1"], fault_seed=3)
    for _ in range(2):  # what dead workers had reserved has come back
        refs = [measure.remote(large.remote(n)) for n in range(40)]
        assert ray.get(refs, timeout=120) == [(1_000_000, n * 1_000_000) for n in range(40)]
    del refs
    until(lambda: not state.list_objects(), "no object is left")


def test_work_that_may_be_retried_gets_through(tmp_path: Path) -> None:
    @ray.remote(max_retries=-1)
    def square(x: int) -> int:
        return x * x

    faults = ["kill:task:0.03", "segv:result:0.03", "exit:code:0.03", "delay=0.001:task:0.1"]
    ray.init(num_cpus=2, faults=faults, fault_seed=5)
    assert ray.get([square.remote(n) for n in range(200)], timeout=60) == [
        n * n for n in range(200)
    ]
