"""What containers allow: read from files as the kernel writes them, and felt in real groups."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import heliostat
from heliostat import _cgroups as cgroups
from heliostat._cgroups import Group
from heliostat._engines.local.processes import machine, oom

MB = 1 << 20
V2 = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "\n".join(
    f"3{n} 31 0:3{n} {root} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"
    for n, (name, root) in enumerate((("cpu,cpuacct", "/docker/1"), ("memory", "/docker/1")))
)


def paths(found: list[Group]) -> list[str]:
    return [group.path for group in found]


def test_limits_above_ours_count_too():
    assert paths(cgroups.groups("0::/user.slice/job", V2, "memory")) == [
        "/sys/fs/cgroup/user.slice/job", "/sys/fs/cgroup/user.slice", "/sys/fs/cgroup",
    ]  # fmt: skip


def test_in_a_container_the_mount_is_where_our_group_begins():
    membership = "5:cpu,cpuacct:/docker/1\n4:memory:/docker/1/inner\n0::/"
    assert paths(cgroups.groups(membership, V1, "memory")) == [
        "/sys/fs/cgroup/memory/inner", "/sys/fs/cgroup/memory",
    ]  # fmt: skip
    assert paths(cgroups.groups(membership, V1, "cpu")) == ["/sys/fs/cgroup/cpu,cpuacct"]


@pytest.mark.parametrize("path", ["/../..", "/elsewhere"])
def test_a_group_that_the_container_cannot_see_is_taken_for_the_one_it_sees(path):
    assert paths(cgroups.groups(f"4:memory:{path}", V1, "memory")) == ["/sys/fs/cgroup/memory"]


def test_a_machine_without_the_controller_has_no_limit():
    assert cgroups.groups("0::/", V1, "memory") == []
    assert cgroups.cpus(()) is None
    assert cgroups.memory(()) is None
    assert cgroups.memory_limit(()) is None


def written(path: Path, version: int, **files: str) -> Group:
    path.mkdir(parents=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text + "\n")
    return Group(str(path), version)


def test_the_tightest_quota_counts_and_is_rounded_up(tmp_path):
    inner = written(tmp_path / "a", 2, cpu__max="250000 100000")
    outer = written(tmp_path / "b", 2, cpu__max="150000 100000")
    free = written(tmp_path / "c", 2, cpu__max="max 100000")
    old = written(tmp_path / "d", 1, cpu__cfs_quota_us="20000", cpu__cfs_period_us="100000")
    old_free = written(tmp_path / "e", 1, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert cgroups.cpus((inner, outer, free)) == 2
    assert cgroups.cpus((old, old_free)) == 1
    assert cgroups.cpus((free, old_free)) is None


def test_the_group_nearest_to_its_limit_counts_without_what_the_kernel_can_drop(tmp_path):
    inner = written(
        tmp_path / "a",
        2,
        memory__max="1000",
        memory__current="500",
        memory__stat="inactive_file 100",
    )
    outer = written(
        tmp_path / "b", 1, memory__limit_in_bytes="2000", memory__usage_in_bytes="1900",
        memory__stat="cache 5\ntotal_inactive_file 10",
    )  # fmt: skip
    free = written(
        tmp_path / "c", 1, memory__limit_in_bytes=str(2**63 - 4096), memory__usage_in_bytes="1",
        memory__stat="",
    )  # fmt: skip
    assert cgroups.memory((inner, outer, free)) == (1890, 2000)
    assert cgroups.memory_limit((inner, outer, free)) == 1000
    assert cgroups.memory((free,)) is None


def test_what_the_kernel_ended_is_counted(tmp_path):
    new = written(tmp_path / "a", 2, memory__events__local="oom 3\noom_kill 2")
    old = written(tmp_path / "b", 1, memory__oom_control="oom_kill_disable 0\noom_kill 1")
    older = written(tmp_path / "c", 1, memory__oom_control="under_oom 0")
    assert cgroups.oom_kills((new, old, older)) == 3


def test_what_is_found_here_fits_the_machine():
    used, total = oom.machine_bytes()
    assert 0 < used < total
    assert 1 <= machine.cpu_count() <= (os.cpu_count() or 1)
    assert machine.memory_bytes() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


PROGRAM = """
import os, sys
for path in sys.argv[1:]:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
import heliostat as ray
from heliostat.exceptions import OutOfMemoryError

ray.init()

@ray.remote(max_retries=0)
def greedy():
    held = []
    while True:
        held.append(b"x" * (1 << 20))

@ray.remote
def modest():
    return 1

resources = ray.cluster_resources()
print(int(resources["CPU"]), int(resources["memory"]), flush=True)
try:
    ray.get(greedy.remote())
except OutOfMemoryError as error:
    print("container" in str(error), ray.get(modest.remote()))
"""


@pytest.fixture
def group() -> Iterator[list[Path]]:
    """Real groups with 400 MB and half a CPU; skipped where we may not make them."""
    made = [_made("memory", {"memory.max": 400 * MB}, {"memory.limit_in_bytes": 400 * MB})]
    made.append(_made("cpu", {"cpu.max": 50_000}, {"cpu.cfs_quota_us": 50_000}))
    yield [path / "cgroup.procs" for path in made]
    for path in dict.fromkeys(made):
        path.rmdir()


def _made(controller: str, new: dict[str, int], old: dict[str, int]) -> Path:
    ours = cgroups.groups(
        Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text(), controller
    )
    for top in reversed(ours):
        path = Path(top.path) / f"heliostat-{os.getpid()}"
        try:
            path.mkdir(exist_ok=True)
            for name, value in (new if top.version == 2 else old).items():
                (path / name).write_text(str(value))
        except OSError:
            if path.is_dir():
                path.rmdir()
            continue
        return path
    pytest.skip(f"no {controller} group can be made here")


@pytest.mark.slow
def test_a_container_is_taken_for_the_machine_and_its_kernel_ends_nobody(group):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, group)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", str(400 * MB), "True", "1"], done.stderr


TOO_FAST = """
import heliostat as ray
from heliostat.exceptions import OutOfMemoryError

@ray.remote(max_retries=0)
def greedy():
    return len(b"x" * (1 << 30))

try:
    ray.get(greedy.remote())
except OutOfMemoryError as error:
    print("the kernel ended it" in str(error))
"""


@pytest.mark.slow
def test_a_worker_that_the_kernel_ends_in_a_container_ran_out_of_memory(group):
    enter = f"import os; open({str(group[0])!r}, 'w').write(str(os.getpid()))"
    done = subprocess.run(
        [sys.executable, "-c", enter + TOO_FAST],
        env={**os.environ, "HELIOSTAT_MEMORY_THRESHOLD": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["True"], done.stderr


@pytest.mark.slow
def test_a_worker_that_was_killed_is_not_taken_for_what_the_kernel_ended_elsewhere(group):
    @heliostat.remote(max_retries=0)
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    with heliostat.init(num_cpus=1):
        enter = f"import os; open({str(group[0])!r}, 'w').write(str(os.getpid()))"
        other = subprocess.run([sys.executable, "-c", f"{enter}; b'x' * (1 << 30)"], check=False)
        assert other.returncode == -signal.SIGKILL
        with pytest.raises(heliostat.exceptions.WorkerCrashedError, match="SIGKILL"):
            heliostat.get(killed.remote())
