"""The allocator keeps or gives back, seen in the page faults and the size of real processes."""

import os
import subprocess
import sys

import pytest

import heliostat as ray
from heliostat._malloc import _libc
from heliostat.testing.clock import until

pytestmark = pytest.mark.skipif(_libc() is None, reason="another C library, or one that is set up")
MB = 1 << 20


@pytest.fixture
def session():
    ray.init(num_cpus=1)
    yield
    ray.shutdown()


def resident(pid: int) -> int:
    """The bytes of a process that are its own; those of the object store are not."""
    with open(f"/proc/{pid}/statm") as file:
        _, all_, shared, *_ = map(int, file.read().split())
    return (all_ - shared) * os.sysconf("SC_PAGE_SIZE")


@ray.remote
def made(size: int) -> object:
    """An array, the pages that had to be found for it, and the process."""
    import resource

    import numpy as np

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    before = faults()
    array = np.ones(size, "u1")
    return array, faults() - before, os.getpid()


def test_a_worker_that_makes_large_values_one_after_the_other_uses_the_same_memory(session):
    seen = [ray.get(made.remote(100 * MB))[1:] for _ in range(6)]
    assert len({pid for _, pid in seen}) == 1
    first, *_, last = [faults for faults, _ in seen]
    assert last < first / 4, seen


def test_an_idle_worker_keeps_none_of_it(session):
    small, _, pid = ray.get(made.remote(1))  # it has what the suite's process had, and numpy
    before = resident(pid)
    for _ in range(4):
        array, _, same = ray.get(made.remote(100 * MB))
        del array
    assert (len(small), same) == (1, pid)
    until(lambda: resident(pid) < before + 30 * MB)


def test_a_worker_of_small_values_is_left_alone(session):
    @ray.remote
    def anonymous(size: int) -> int:
        import numpy as np

        np.ones(size, "u1")
        return os.getpid()

    before = resident(ray.get(anonymous.remote(1)))
    pids = [ray.get(anonymous.remote(200 * MB)) for _ in range(3)]
    assert resident(pids[-1]) < before + 30 * MB


def run(program: str, **variables: str) -> int:
    head = "import heliostat._malloc as m, numpy as np, resource\n"
    out = subprocess.run(
        [sys.executable, "-c", head + program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(out.stdout)


LOOP = """
for _ in range(3):
    np.ones(100 << 20, "u1")
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(100 << 20, "u1")
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_kept_and_given_back_in_a_process_of_its_own():
    kept = run(f"m.keep_large(512 << 20){LOOP}")
    assert kept < 10
    assert run(f"m.keep_large(512 << 20); m.give_back(){LOOP}") > 40
    assert run(f"m.keep_large(512 << 20); m.map_above(1 << 18){LOOP}") > 40


def test_what_the_user_has_set_up_stays():
    assert run(f"m.keep_large(512 << 20){LOOP}", MALLOC_TOP_PAD_="131072") > 40


SMALL = """
def ones():
    for _ in range(20):
        kept = [np.ones(1 << 20, "u1") for _ in range(3)]

ones()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
ones()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_small_blocks_are_used_again_where_glibc_would_map_them_anew():
    assert run(SMALL) > 1000
    assert run(f"m.keep_small(8 << 20){SMALL}") < 50
    # Who wants memory to be given back at once has chosen.
    assert run(f"m.map_above(1 << 18); m.keep_small(8 << 20){SMALL}") > 1000
