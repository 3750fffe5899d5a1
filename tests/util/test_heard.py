"""Each thread of another process tells where it is, while it runs on."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from heliostat.util import _heard

CHILD = """
import faulthandler, os, signal, threading
fd = os.memfd_create("stacks")
faulthandler.register(signal.SIGUSR1, fd, all_threads=False)

def work():
    while True:
        os.path.exists("/nowhere")

def wait():
    threading.Event().wait()

for what in (work, wait):
    threading.Thread(target=what, daemon=True).start()
print(fd, flush=True)
input()
"""


def test_threads_at_work_and_at_rest_tell_where_they_are() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        told = Path(f"/proc/{child.pid}/fd/{int(child.stdout.readline())}")
        for _ in range(5):
            text = _heard.stacks(child.pid, signal.SIGUSR1, told.read_text)
            assert [text.count(f"in {name}") for name in ("work", "<module>")] == [1, 1]
            assert text.count("(most recent call first)") == 3
        child.kill()
        child.wait()
        with pytest.raises(OSError, match=r"No such (file|process)"):
            _heard.stacks(child.pid, signal.SIGUSR1, told.read_text)


def test_a_process_that_is_stopped_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_heard, "WAIT_S", 0.05)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        told = Path(f"/proc/{child.pid}/fd/{int(child.stdout.readline())}")
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert _heard.stacks(child.pid, signal.SIGUSR1, told.read_text) == ""
        child.kill()


def test_an_older_c_library_has_the_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = ctypes.CDLL(None)
    monkeypatch.setattr(_heard.ctypes, "CDLL", lambda name: SimpleNamespace(syscall=libc.syscall))
    assert _heard._send(os.getpid(), threading.get_native_id(), 0)
    assert not _heard._send(os.getpid(), 1, 0)
