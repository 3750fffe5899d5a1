"""A task that takes too much memory is ended with an error that says so; its siblings live."""

import os
from collections.abc import Iterator

import pytest

import heliostat as ray
from heliostat.exceptions import ActorDiedError, OutOfMemoryError
from heliostat.testing._session import Gate, Tally

MB = 1 << 20


@ray.remote
def take(gate: Gate, size: int) -> int:
    held = b"x" * size
    gate.wait()
    return len(held)


@ray.remote
class Hoarder:
    def take(self, gate: Gate, size: int) -> None:
        self.held = b"x" * size
        gate.wait()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


@pytest.mark.usefixtures("session")
def test_a_task_over_its_own_request_is_ended_and_its_sibling_lives(tmp_path):
    gate = Gate(tmp_path)
    kept = ray.put(bytes(5 * MB))
    sibling = take.options(memory=500 * MB).remote(gate, 10 * MB)
    greedy = take.options(memory=50 * MB, max_retries=0).remote(gate, 150 * MB)
    with pytest.raises(
        OutOfMemoryError, match=r"take used \d+\.\d MB, more than the 52\.4 MB"
    ) as e:
        ray.get(greedy, timeout=30)
    assert "The largest of 1 objects in shared memory: 5.2 MB" in str(e.value)
    gate.open()
    assert ray.get(sibling, timeout=30) == 10 * MB
    assert len(ray.get(kept)) == 5 * MB


def test_what_it_was_born_with_does_not_count(tmp_path):
    for library in ("pandas", "sklearn", "pyarrow.parquet"):  # loaded here, so there from the start
        pytest.importorskip(library)
    gate = Gate(tmp_path)
    ray.init(num_cpus=2)
    try:
        small = take.options(memory=40 * MB, max_retries=0).remote(gate, 1 * MB)
        greedy = take.options(memory=50 * MB, max_retries=0).remote(gate, 150 * MB)
        with pytest.raises(OutOfMemoryError):  # so somebody has looked at both
            ray.get(greedy, timeout=30)
        gate.open()
        assert ray.get(small, timeout=30) == 1 * MB
    finally:
        ray.shutdown()


@pytest.mark.usefixtures("session")
def test_it_is_tried_again_as_often_as_after_other_deaths(tmp_path):
    tries = Tally(tmp_path)

    @ray.remote(memory=50 * MB, max_retries=2)
    def greedy(gate):
        if tries.add() < 3:
            held = b"x" * (150 * MB)
            gate.wait()
            return len(held)
        return os.getpid()

    assert ray.get(greedy.remote(Gate(tmp_path)), timeout=30) > 0
    assert tries.count() == 3


@pytest.mark.usefixtures("session")
def test_an_actor_over_its_request_is_dead_and_says_why(tmp_path):
    hoarder = Hoarder.options(memory=50 * MB).remote()
    with pytest.raises(ActorDiedError, match=r"ran out of memory: Hoarder\.take used"):
        ray.get(hoarder.take.remote(Gate(tmp_path), 150 * MB), timeout=30)


def test_on_a_full_machine_the_task_that_began_last_is_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_MEMORY_THRESHOLD", "0.0001")
    ray.init(num_cpus=2)
    try:
        ref = take.options(max_retries=0).remote(Gate(tmp_path), 1)
        with pytest.raises(
            OutOfMemoryError, match="memory of the machine or container was nearly full"
        ):
            ray.get(ref, timeout=30)
    finally:
        ray.shutdown()
