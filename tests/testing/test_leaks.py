"""What outlives a test is seen, whatever it is; what is on its way out is waited for."""

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from heliostat.testing.leaks import expect_nothing_new, new_since, take_census


def test_nothing_new_is_nothing_to_say() -> None:
    assert new_since(take_census()) == []


def test_a_child_is_seen_and_may_end_in_time() -> None:
    before = take_census()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    assert any(f"process {child.pid}" in line for line in new_since(before))
    with pytest.raises(AssertionError, match=f"process {child.pid}"):
        expect_nothing_new(before, timeout_s=0.05)
    child.stdin.close()
    child.wait()
    expect_nothing_new(before)


def test_an_orphan_is_seen() -> None:
    before = take_census()
    script = (
        "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], check=True, stdout=subprocess.PIPE
    ).stdout
    orphan = int(shown)
    try:
        assert any(f"process {orphan}" in line for line in new_since(before))
    finally:
        os.kill(orphan, 9)
    expect_nothing_new(before)


def test_a_zombie_is_seen() -> None:
    before = take_census()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        assert any(f"process {pid}" in line for line in new_since(before))
    finally:
        os.waitpid(pid, 0)
    expect_nothing_new(before)


def test_descriptors_are_seen_by_kind() -> None:
    before = take_census()
    pair, poll = socket.socketpair(), select.epoll()
    pipe, memory = os.pipe(), os.memfd_create("test")
    kinds = " ".join(new_since(before))
    for kind in ("2 more open of socket:", "2 more open of pipe:", "memfd", "eventpoll"):
        assert kind in kinds
    for end in pair:
        end.close()
    poll.close()
    for fd in (*pipe, memory):
        os.close(fd)
    expect_nothing_new(before)


def test_named_shared_memory_is_seen() -> None:
    before = take_census()
    path = Path("/dev/shm") / f"heliostat-test-{os.getpid()}"
    path.touch()
    try:
        assert f"shared memory {path.name}" in new_since(before)
    finally:
        path.unlink()


def test_descriptors_of_garbage_are_collected_first() -> None:
    before = take_census()

    class Cycle:
        def __init__(self) -> None:
            self.me, self.pipe = self, os.pipe()

        def __del__(self) -> None:
            for fd in self.pipe:
                os.close(fd)

    Cycle()
    expect_nothing_new(before)
