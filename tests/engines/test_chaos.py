"""A graph of 2,000 tasks, with actors and nested tasks, while random workers are killed."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator

import pytest

import heliostat as ray
from heliostat.testing.clock import until
from heliostat.util import state

EVERY_S = 0.05
# A stopped worker is lost for 2 s; were a third of the signals SIGSTOP, nearly all would stand still.
SIGNALS = [signal.SIGKILL] * 4 + [signal.SIGSEGV] * 4 + [signal.SIGSTOP] * 2
TASKS, ACTORS = 2_000, 3


@ray.remote(max_retries=-1)
def leaf(x: int) -> int:
    return x + 1


@ray.remote(max_retries=-1)
def add(*xs: int) -> int:
    return sum(xs)


@ray.remote(max_retries=-1)
def nested(x: int) -> int:
    return sum(ray.get([leaf.remote(x), leaf.remote(x + 1)]))


@ray.remote(max_retries=-1)
def large(x: int) -> bytes:
    return bytes([x % 251]) * 200_000


@ray.remote(max_retries=-1)
def measure(value: bytes) -> int:
    return len(value) + value[0]


@ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Squares:
    """Without state that a restart could lose."""

    def square(self, x: int) -> int:
        return x * x

    def through_a_task(self, x: int) -> int:
        return ray.get(leaf.remote(x))


def graph(seed: int) -> tuple[list[ray.ObjectRef[int]], list[int]]:
    """Its results, and what they have to be."""
    draw = random.Random(seed)
    actors = [Squares.remote() for _ in range(ACTORS)]
    refs: list[ray.ObjectRef[int]] = [leaf.remote(n) for n in range(100)]
    values = [n + 1 for n in range(100)]
    while len(refs) < TASKS:
        which = draw.randrange(len(refs))
        ref, value, kind = refs[which], values[which] % 1_000_003, draw.randrange(6)
        if kind == 0:
            others = [draw.randrange(len(refs)) for _ in range(3)]
            refs.append(add.remote(*(refs[other] for other in others)))
            values.append(sum(values[other] for other in others))
        elif kind == 1:
            refs.append(nested.remote(value))
            values.append(2 * value + 3)
        elif kind == 2:
            refs.append(measure.remote(large.remote(value)))
            values.append(200_000 + value % 251)
        elif kind == 3:
            refs.append(draw.choice(actors).square.remote(value))
            values.append(value * value)
        elif kind == 4:
            refs.append(draw.choice(actors).through_a_task.remote(value))
            values.append(value + 1)
        else:
            refs.append(leaf.remote(ref))
            values.append(values[which] + 1)
    return refs, values


class Killer:
    """Signals a random worker now and then."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.struck = 0

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            pids = [row["pid"] for row in state.list_workers() if row["pid"]]
            if pids:
                try:
                    os.kill(self._random.choice(pids), self._random.choice(SIGNALS))
                    self.struck += 1
                except ProcessLookupError:
                    continue


@pytest.fixture
def session() -> Iterator[None]:
    ray.init(num_cpus=4, object_store_memory=512 << 20, log_to_driver=False)
    yield
    ray.shutdown()


def survive(seed: int) -> int:
    """How many signals were sent before the right result was there."""
    with Killer(seed) as killer:
        refs, values = graph(seed)
        assert ray.get(refs, timeout=500) == values
    del refs
    until(lambda: not state.list_objects(), "no object is left", 20)
    until(lambda: not state.list_tasks(filters=[("state", "=", "RUNNING")]), "no task runs", 20)
    until(
        lambda: ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"],
        "all CPUs are free",
        20,
    )
    return killer.struck


@pytest.mark.soak
@pytest.mark.timeout(600)  # a quarter of a minute where nobody else works
@pytest.mark.usefixtures("session")
@pytest.mark.parametrize("seed", range(10))
def test_a_graph_has_the_right_result_whatever_happens_to_workers(seed: int) -> None:
    assert survive(seed) > 3
