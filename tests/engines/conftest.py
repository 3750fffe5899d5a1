"""Programs of ours in processes of their own."""

import os
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heliostat.testing.clock import until
from heliostat.testing.leaks import take_census

MARK = "HELIOSTAT_KILL_TEST"

PREAMBLE = """
import os, signal, subprocess, sys, threading, time
import heliostat as ray
def say(text):
    print(text, flush=True)
"""


class Driver:
    """A program of ours in a process of its own, and all that it starts."""

    def __init__(self, folder: Path, source: str) -> None:
        script = folder / f"driver_{uuid.uuid4().hex[:6]}.py"
        script.write_text(PREAMBLE + textwrap.dedent(source))
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            env=os.environ | {name: value, "HELIOSTAT_PROGRESS": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def hear(self, text: str) -> None:
        """Read its output up to that line."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return
        raise AssertionError(f"never said {text!r}: {seen} {self.process.communicate()}")

    def family(self) -> list[int]:
        """It and its descendants that are still there."""
        mark, found = self.mark.encode(), []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                environ = Path(f"/proc/{name}/environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if mark in environ.split(b"\0"):
                found.append(int(name))
        return found

    def end(self, timeout_s: float = 20.0) -> tuple[int, str, str]:
        """Wait for its end.

        Returns:
            Exit code, output, errors.
        """
        out, err = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, out, err

    def expect_no_family(self) -> None:
        """Everybody is gone two seconds later."""
        until(lambda: not self.family(), "no process of the driver is left", timeout_s=2.0)


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[[str], Driver]]:
    """Starts drivers; no matter how the test ends, none of them is left."""
    drivers: list[Driver] = []
    segments = take_census().shared_memory

    def start(source: str) -> Driver:
        drivers.append(Driver(tmp_path, source))
        return drivers[-1]

    yield start
    for driver in drivers:
        for pid in driver.family():
            os.kill(pid, signal.SIGKILL)
        driver.process.communicate()
    assert take_census().shared_memory <= segments


Drive = Callable[[str], Driver]
