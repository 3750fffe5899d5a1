"""Where values go that do not fit into memory: a file without a name, and what can fail about it."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import heliostat as ray
from heliostat import _faults
from heliostat._engines.local.scheduling.memory import GRACE_S
from heliostat.exceptions import ObjectLostError, ObjectStoreFullError, OutOfDiskError
from heliostat.testing.clock import until
from heliostat.util.state import list_objects, list_tasks, summarize_objects

MIB = 1 << 20
GIB = 1 << 30


def ramp(mib, start=0):
    return np.arange(start, start + mib * MIB // 8)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A session of 64 MiB that moves what does not fit to this directory."""
    ray.init(num_cpus=2, object_store_memory=64 * MIB, object_spilling_directory=tmp_path)
    yield tmp_path
    _faults.clear()
    ray.shutdown()


def spilled_file(directory):
    """The descriptor of the file on disk, which has no name."""
    links = {f"/proc/self/fd/{fd}": _link(fd) for fd in os.listdir("/proc/self/fd")}
    (found,) = [fd for fd, target in links.items() if target.startswith(str(directory))]
    return found


def holding_values(directory):
    """Every descriptor of shared memory or of a file in the directory; not what others open here."""
    links = {fd: _link(fd) for fd in os.listdir("/proc/self/fd")}
    return {fd: at for fd, at in links.items() if at.startswith(("/memfd:", str(directory)))}


def _link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:  # that of the directory that was listed
        return ""


def fill(count=8):
    """Values of which half have left memory."""
    refs = [ray.put(ramp(16, number)) for number in range(count)]
    until(
        lambda: summarize_objects()["cluster"]["spilled_objects"] >= count - 4, "some are on disk"
    )
    return refs


def test_values_go_to_a_file_without_a_name_in_the_directory(directory):
    refs = fill()
    assert list(directory.iterdir()) == []
    assert os.readlink(spilled_file(directory)).startswith(str(directory))
    assert os.stat(spilled_file(directory)).st_blocks * 512 >= 4 * 16 * MIB
    assert os.stat(spilled_file(directory)).st_mode & 0o077 == 0
    assert ray.get(refs[0])[0] == 0


def test_shared_memory_never_takes_more_than_its_budget(directory):
    @ray.remote
    def make(number):
        return ramp(16, number)

    links = {fd: _link(fd) for fd in os.listdir("/proc/self/fd")}
    segment = next(fd for fd, link in links.items() if link.startswith("/memfd:heliostat ("))
    refs = [ray.put(ramp(16, number)) for number in range(10)]
    refs += [make.remote(number) for number in range(10, 20)]
    for number, ref in enumerate(refs):
        assert ray.get(ref)[0] == number
        assert os.stat(f"/proc/self/fd/{segment}").st_blocks * 512 <= 64 * MIB


def test_one_descriptor_serves_all_values(directory):
    refs = fill()
    before = holding_values(directory)
    refs += [ray.put(ramp(16)) for _ in range(8)]
    assert holding_values(directory) == before


def test_the_file_shrinks_when_nothing_in_it_is_needed(directory):
    refs = fill()
    file = spilled_file(directory)
    assert os.stat(file).st_size > 0
    refs.clear()
    until(lambda: os.stat(file).st_size == 0, "the file is empty")


def test_rows_say_which_values_are_on_disk(directory):
    refs = fill()
    rows = [row for row in list_objects(limit=100) if row["spilled"]]
    assert len(rows) == summarize_objects()["cluster"]["spilled_objects"] >= 4
    assert all(row["reason"].startswith("on disk") for row in rows)
    assert summarize_objects()["cluster"]["spilled_size_mb"] >= 4 * 16
    assert refs[0].hex() in {row["object_id"] for row in rows}


def reason_of(name):
    """Why a task has not ended."""
    return next(
        (row["reason"] for row in list_tasks(detail=True) if row["name"].endswith(name)), ""
    )


def test_it_is_said_what_waits_for_room_and_what_for_the_disk(directory):
    @ray.remote
    def give():
        return ramp(40)

    @ray.remote
    def take(array):
        return int(array[0])

    gone = ray.put(ramp(40, 7))
    held = ray.put(ramp(40))
    looked = look_long.remote([held], directory)
    until((directory / "begun").exists, "it looks")
    made, taken = give.remote(), take.remote(gone)
    until(lambda: "room in shared memory for a value of 41.9 MB" in reason_of("give"))
    until(lambda: f"object {gone.hex()} of 41.9 MB to come back from disk" in reason_of("take"))
    assert "waits for its arguments" in reason_of("take")
    (directory / "end").touch()
    assert ray.get([looked, taken]) == [0, 7]
    assert ray.get(made)[1] == 1


@ray.remote(num_cpus=0)
def look_long(refs, directory):
    array = ray.get(refs[0])
    (directory / "begun").touch()
    until((directory / "end").exists, "the end of the look", timeout_s=60)
    return int(array[0])


def test_tasks_run_on_while_a_value_is_written_and_read(directory):
    @ray.remote
    def small():
        return 1

    ray.get(small.remote())
    refs = [ray.put(ramp(16, number)) for number in range(4)]
    for point, move in (("write", lambda: ray.put(ramp(16))), ("read", lambda: ray.get(refs[0]))):
        with _faults.inject(f"spill.{point}", "delay=1") as fault:
            thread = threading.Thread(target=move)
            thread.start()
            until(lambda fault=fault: fault.strikes, "it is under way")
            begin = time.monotonic()
            assert ray.get([small.remote() for _ in range(20)]) == [1] * 20
            assert thread.is_alive()
            assert time.monotonic() - begin < 0.9
            thread.join()


def test_the_directory_for_temporary_files_is_the_default(tmp_path):
    program = (
        "import heliostat as ray, os\n"
        "ray.init(num_cpus=1, object_store_memory=4 << 20)\n"
        "refs = [ray.put(bytes(1 << 20)) for _ in range(8)]\n"
        "names = [os.readlink(f'/proc/self/fd/{fd}') for fd in range(60)\n"
        "         if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
        "print(any(name.startswith(os.environ['TMPDIR']) for name in names))\n"
        "assert all(ray.get(ref) == bytes(1 << 20) for ref in refs)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing stays, however the session ends"


@pytest.mark.parametrize("moment", ["spill.write:SIGKILL:nth=2", "spill.read:SIGKILL"])
def test_a_driver_that_is_killed_while_it_moves_values_leaves_nothing(tmp_path, moment):
    program = (
        "import heliostat as ray\n"
        f"ray.init(num_cpus=1, object_store_memory=4 << 20, object_spilling_directory={str(tmp_path)!r})\n"
        "refs = [ray.put(bytes(1 << 20)) for _ in range(8)]\n"
        "[ray.get(ref) for ref in refs]\n"
        "print('it lives')\n"
    )
    environ = {**os.environ, "HELIOSTAT_FAULTS": moment}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, ""), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("point", ["spill.allocate", "spill.write"])
def test_a_full_disk_is_an_error_that_names_it_and_loses_nothing(directory, point):
    refs = [ray.put(ramp(16, number)) for number in range(3)]
    full = pytest.raises(OutOfDiskError, match=rf"{directory} has no room .*bytes are free")
    with _faults.inject(point, "ENOSPC") as fault, full as e:
        ray.put(ramp(40))
    assert fault.strikes == 1
    assert "16,7" in str(e.value), "the size of what was to be moved"
    for number, ref in enumerate(refs):
        assert ray.get(ref)[0] == number
    assert ray.get(ray.put(ramp(40, 5)))[0] == 5, "there is room again"
    assert [int(ray.get(ref)[0]) for ref in refs] == [0, 1, 2]


def test_a_full_disk_is_the_error_of_the_task_that_wanted_room(directory):
    @ray.remote
    def make():
        return ramp(40)

    refs = [ray.put(ramp(16, number)) for number in range(3)]
    with _faults.inject("spill.write", "ENOSPC"), pytest.raises(OutOfDiskError):
        ray.get(make.remote())
    assert [int(ray.get(ref)[0]) for ref in refs] == [0, 1, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_disk_that_is_really_full_is_an_error_and_loses_nothing(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "none", tmp_path],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("we may not mount here")
    try:
        ray.init(num_cpus=1, object_store_memory=64 * MIB, object_spilling_directory=tmp_path)
        refs = [ray.put(ramp(16, number)) for number in range(3)]
        refs.append(ray.put(ramp(16, 3)))  # moves one, for which there is room
        with pytest.raises(OutOfDiskError, match="No space left on device"):
            ray.put(ramp(16, 4))
        with pytest.raises(OutOfDiskError):
            ray.put(ramp(16, 4))
        view = ray.get(refs[1])
        assert view[0] == 1
        del view, refs[1:]
        assert ray.get(refs[0])[0] == 0
        ray.shutdown()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_limit_on_the_size_of_files_is_a_full_disk(directory):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    refs = [ray.put(ramp(16, number)) for number in range(3)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, limits[1]))
    try:
        with pytest.raises((OutOfDiskError, ObjectStoreFullError)):
            ray.put(ramp(40))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [int(ray.get(ref)[0]) for ref in refs] == [0, 1, 2]


def test_a_disk_that_fails_otherwise_is_named_too(directory):
    held = ray.put(ramp(40))
    with _faults.inject("spill.write", "EIO"), pytest.raises(ObjectStoreFullError, match="error"):
        ray.put(ramp(40))
    assert ray.get(held)[1] == 1


def test_no_descriptor_for_the_file_is_an_error_and_no_end(directory):
    held = ray.put(ramp(40))
    with _faults.inject("spill.open", "EMFILE"), pytest.raises(ObjectStoreFullError, match="open"):
        ray.put(ramp(40))
    second = ray.put(ramp(40))
    assert (ray.get(held)[1], ray.get(second)[1]) == (1, 1)


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_value_that_was_damaged_on_disk_is_lost_and_says_so(directory, damage):
    refs = fill()
    file = spilled_file(directory)
    with open(file, "r+b") as opened:
        if damage == "truncate":
            opened.truncate(0)
        else:
            size = os.stat(file).st_size
            for position in range(4096, size, 1 << 20):
                opened.seek(position)
                opened.write(b"\xff\x00\xff")
    with pytest.raises(ObjectLostError, match="was moved to disk and is lost"):
        ray.get(refs[0])
    assert ray.get(refs[-1])[0] == 7


def test_an_argument_that_is_lost_is_the_error_of_its_task(directory):
    @ray.remote
    def look(array):
        return int(array[0])

    refs = fill()
    with open(spilled_file(directory), "r+b") as opened:
        opened.truncate(0)
    with pytest.raises(ObjectLostError):
        ray.get(look.remote(refs[0]), timeout=30)


def test_a_get_with_a_timeout_does_not_wait_longer_for_the_disk(directory):
    refs = fill()
    views = [ray.get(refs[number]) for number in (5, 6, 7)]
    with pytest.raises(ray.exceptions.GetTimeoutError, match="still on disk"):
        ray.get(refs[0], timeout=0.1)
    del views
    assert ray.get(refs[0])[0] == 0


def test_full_memory_of_the_machine_is_an_error_and_no_signal(directory):
    full = pytest.raises(ObjectStoreFullError, match="the machine has no memory left")
    with _faults.inject("store.write", "ENOSPC"), full:
        ray.put(ramp(16))
    assert ray.get(ray.put(ramp(16)))[1] == 1


class Gazer:
    """An actor that looks at a large value for longer than anybody waits for room in vain."""

    def keep(self, refs):
        self.refs = refs

    def nothing(self):
        pass

    def look(self, begun):
        value = ray.get(self.refs[0])
        begun.touch()
        threading.Event().wait(3 * GRACE_S)
        return int(value[0])


@ray.remote
def call_directly(gazer, begun):
    ray.get([gazer.nothing.remote() for _ in range(3)])
    return ray.get(gazer.look.remote(begun))


def test_who_wants_room_waits_for_the_end_of_a_direct_call(directory):
    gazer = ray.remote(num_cpus=0)(Gazer).remote()
    begun, ref = directory / "begun", ray.put(ramp(40))
    ray.get(gazer.keep.remote([ref]))
    looked = call_directly.remote(gazer, begun)
    until(begun.exists, "the actor looks")
    other = ray.put(ramp(40, 7))
    assert ray.get(looked) == 0
    assert ray.get(other)[0] == 7


def test_a_spilling_directory_that_is_none_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match="object_spilling_directory"):
        ray.init(object_spilling_directory=file)
    with pytest.raises(TypeError, match="object_spilling_directory"):
        ray.init(object_spilling_directory=3)


def big(number):
    array = np.full(GIB // 8, number)
    array[-1] = -number
    return array


@pytest.mark.soak
def test_a_value_of_four_gigabytes_takes_four_times_as_long_as_one():
    ray.init(num_cpus=1, object_store_memory=5 * GIB)
    try:
        seconds = {}
        for gib in (1, 4, 1, 4):  # the first of each touches memory for the first time
            array = np.ones(gib * GIB, "u1")
            array[-1] = gib
            begin = time.monotonic()
            ref = ray.put(array)
            put = time.monotonic() - begin
            del array
            found = ray.get(ref)
            got = time.monotonic() - begin - put
            assert len(found) == gib * GIB
            assert found[-1] == gib
            assert found[:: 1 << 20].sum() == gib * 1024
            seconds[gib] = put, got
            del ref, found
        assert seconds[4][0] < 8 * seconds[1][0], "linear, give or take what else runs here"
        assert seconds[4][1] < 0.5, "a view is no copy"
    finally:
        ray.shutdown()


@pytest.mark.soak
def test_ten_values_of_a_gigabyte_under_four(tmp_path):
    ray.init(num_cpus=2, object_store_memory=4 * GIB)
    try:
        refs = [ray.put(big(number)) for number in range(10)]
        for number in (0, 5, 9, 1, 2, 3, 4, 6, 7, 8):
            array = ray.get(refs[number])
            assert array[0] == array[:-1].min() == array[:-1].max() == number == -array[-1]
            del array
        del refs
        made = [ray.remote(big).remote(number) for number in range(10)]

        @ray.remote
        def ends(array):
            return int(array[0]), int(array[-1])

        found = ray.get([ends.remote(ref) for ref in made])
        assert found == [(number, -number) for number in range(10)]
    finally:
        ray.shutdown()
