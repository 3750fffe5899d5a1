"""Too little memory, and workers that are killed: nobody reads a wrong byte, and nothing is left.

Every array counts up from its first number, so that whoever looks at one knows what it has to be.
"""

import contextlib
import gc
import os
import random
import signal

import numpy as np
import pytest

import heliostat as ray
from heliostat.runtime_context import records
from heliostat.testing.clock import until
from heliostat.util.state import list_workers

MIB = 1 << 20
KILL_EVERY = 20  # steps


def ramp(start, mib):
    return np.arange(start, start + mib * MIB // 8)


def check(array, start):
    assert np.array_equal(array, np.arange(start, start + len(array))), "wrong bytes"


@ray.remote(max_retries=-1)
def make(start, mib):
    return ramp(start, mib)


@ray.remote(max_retries=-1)
def add(array, start, number):
    check(array, start)
    return array + number


@ray.remote(max_retries=-1)
def nested(box, start):
    check(ray.get(box[0]), start)
    kept = ray.put(ray.get(add.remote(box[0], start, 7)))
    check(ray.get(kept), start + 7)
    return start


@ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Keeper:
    """An actor that gives back half of what it gets."""

    def look(self, array, start):
        check(array, start)
        return array[: len(array) // 2].copy()


def await_worker():
    return until(lambda: next((row["pid"] for row in list_workers() if row["pid"]), 0), "a worker")


class History:
    """A program of steps that chance chooses."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.keepers = [Keeper.remote() for _ in range(2)]
        self.arrays = []
        self.ends = []

    def step(self):
        draw, start = self.random.random(), self.random.randrange(1000)
        mib = self.random.choice([1, 1, 2, 4])
        ref, of = self.random.choice(self.arrays or [(None, 0)])
        if draw < 0.35 or ref is None:
            self.arrays.append((make.remote(start, mib), start))
        elif draw < 0.45:
            self.arrays.append((ray.put(ramp(start, mib)), start))
        elif draw < 0.65:
            self.arrays.append((add.remote(ref, of, 3), of + 3))
        elif draw < 0.75:
            self.ends.append((nested.remote([ref], of), of))
        elif draw < 0.85:
            keeper = self.random.choice(self.keepers)
            self.arrays.append((keeper.look.remote(ref, of), of))
        else:
            check(ray.get(ref, timeout=60), of)
        if len(self.arrays) > 40:
            self.arrays.pop(self.random.randrange(len(self.arrays)))

    def kill(self):
        """A worker dies in the middle of whatever it does."""
        pids = [row["pid"] for row in list_workers() if row["pid"]] or [await_worker()]
        how = self.random.choice([signal.SIGKILL, signal.SIGSEGV])
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(self.random.choice(pids), how)

    def end(self):
        for ref, start in self.ends:
            assert ray.get(ref, timeout=60) == start
        for ref, start in self.arrays:
            check(ray.get(ref, timeout=60), start)


def run(seed, steps):
    """One history, and what must hold after it."""
    ray.init(num_cpus=2, object_store_memory=32 * MIB, log_to_driver=False)
    try:
        history, spilled = History(seed), False
        while steps > 0 or not spilled:
            history.step()
            steps -= 1
            if steps % KILL_EVERY == 0:
                history.kill()
            spilled = spilled or records("memory")[0]["on_disk"] > 0
        history.end()
        del history
        gc.collect()
        until(lambda: records("memory")[0]["used"] == 0, "memory is free")
        assert records("memory")[0]["on_disk"] == 0
    finally:
        ray.shutdown()


def test_no_byte_is_wrong_while_workers_die_and_memory_is_short():
    run(seed=0, steps=120)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 11))
def test_no_byte_is_wrong_in_long_histories(seed):
    run(seed, steps=5000)
