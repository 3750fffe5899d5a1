"""Real signals, real deaths: nothing survives its driver, and work survives its worker."""

import os
import random
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

BUSY = """
ray.init(num_cpus=2)
@ray.remote
def leaf(n):
    time.sleep(0.003)
    return bytes(200_000) if n % 2 else n
@ray.remote
def parent(n):
    return len(ray.get([leaf.remote(i) for i in range(n)]))
@ray.remote
class Actor:
    def work(self, n):
        return ray.get(parent.remote(n))
@ray.remote
def stream():
    while True:
        yield bytes(100_000)
actors = [Actor.remote() for _ in range(2)]
endless = stream.remote()
ray.get(leaf.remote(0))
say("ready")
while True:
    ray.get([actor.work.remote(3) for actor in actors] + [parent.remote(2)])
    next(endless)
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


@pytest.mark.parametrize("moment", range(6))
def test_nothing_survives_a_killed_driver(moment: int, drive: Drive) -> None:
    driver = drive(BUSY)
    driver.hear("ready")
    assert len(driver.family()) > 2
    delay_s = random.Random(moment).uniform(0.0, 0.3)
    with pytest.raises(subprocess.TimeoutExpired):
        driver.process.wait(delay_s)
    driver.process.kill()
    driver.process.wait()
    driver.expect_no_family()


@pytest.mark.parametrize("moment", range(3))
def test_nothing_survives_a_driver_killed_while_it_starts(moment: int, drive: Drive) -> None:
    driver = drive("say('begin')\n" + BUSY)
    driver.hear("begin")
    with pytest.raises(subprocess.TimeoutExpired):
        driver.process.wait(0.03 * moment)
    driver.process.kill()
    driver.process.wait()
    driver.expect_no_family()


def test_nothing_survives_a_terminated_driver(drive: Drive) -> None:
    driver = drive(BUSY)
    driver.hear("ready")
    driver.process.terminate()
    code, _, _ = driver.end()
    assert code == -signal.SIGTERM
    driver.expect_no_family()


def test_ctrl_c_ends_a_driver_that_waits_for_a_stubborn_task(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def stubborn():
            say("ready")
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        ray.get(stubborn.remote())
    """)
    driver.hear("ready")
    os.killpg(driver.process.pid, signal.SIGINT)  # as a terminal does: to the whole group
    code, _, err = driver.end()
    assert code != 0
    assert "KeyboardInterrupt" in err
    assert "Traceback" in err
    driver.expect_no_family()


def test_ctrl_c_can_be_caught_and_the_session_goes_on(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def nap(seconds):
            time.sleep(seconds)
            return seconds
        ray.get(nap.remote(0))
        try:
            say("ready")
            ray.get(nap.remote(30))
        except KeyboardInterrupt:
            say("caught")
        say(ray.get(nap.remote(0.5)))
    """)
    driver.hear("ready")
    os.killpg(driver.process.pid, signal.SIGINT)
    code, out, err = driver.end()
    assert (code, out.split()) == (0, ["caught", "0.5"]), err
    driver.expect_no_family()


@pytest.mark.parametrize(
    ("leave", "code"),
    [("pass", 0), ("sys.exit(3)", 3), ("os._exit(4)", 4), ("raise ValueError('own')", 1)],
)
def test_a_driver_leaves_without_shutdown(leave: str, code: int, drive: Drive) -> None:
    driver = drive(f"""
        @ray.remote
        class Actor:
            def work(self):
                time.sleep(60)
        @ray.remote
        def one():
            return 1
        actor = Actor.remote()
        pending = actor.work.remote()
        assert ray.get(one.remote()) == 1
        {leave}
    """)
    assert driver.end()[0] == code
    driver.expect_no_family()


def test_two_drivers_do_not_meet(drive: Drive) -> None:
    source = """
        ray.init(num_cpus=2)
        @ray.remote
        class Counter:
            def __init__(self): self.n = 0
            def add(self):
                self.n += 1
                return self.n
        counter = Counter.options(name="same").remote()
        ray.get(counter.add.remote())
        go = threading.Event()
        signal.signal(signal.SIGUSR1, lambda *_: go.set())
        say("ready")
        go.wait(20)
        say(ray.get([ray.get_actor("same").add.remote() for _ in range(3)]))
    """
    first, second = drive(source), drive(source)
    first.hear("ready")
    second.hear("ready")
    first.process.send_signal(signal.SIGUSR1)
    second.process.send_signal(signal.SIGUSR1)
    assert first.end()[:2] == (0, "[2, 3, 4]\n")
    assert second.end()[:2] == (0, "[2, 3, 4]\n")


def test_a_worker_killed_from_outside_is_replaced(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def work(path):
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\\n")
            if len(open(path).readlines()) == 1:
                time.sleep(60)
            return "done"
        path = sys.argv[0] + ".pids"
        ref = work.remote(path)
        while not os.path.exists(path) or not open(path).read().endswith("\\n"):
            time.sleep(0.005)
        os.kill(int(open(path).readline()), signal.SIGKILL)
        say(ray.get(ref, timeout=20))
    """)
    assert driver.end()[:2] == (0, "done\n")


def test_idle_workers_killed_from_outside_do_no_harm(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def pid():
            return os.getpid()
        for _ in range(5):
            for number in set(ray.get([pid.remote() for _ in range(4)])):
                os.kill(number, signal.SIGKILL)
            assert ray.get(pid.remote(), timeout=20)
        say("fine")
    """)
    assert driver.end()[:2] == (0, "fine\n")


def test_workers_are_started_again_after_their_parent_was_killed(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def parent():
            return os.getppid()
        zygote = ray.get(parent.remote())
        assert zygote != os.getpid()
        os.kill(zygote, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while ray.get(parent.remote(), timeout=20) == zygote:
            assert time.monotonic() < deadline
        say("again")
    """)
    assert driver.end()[:2] == (0, "again\n")


def test_all_that_a_worker_prints_arrives(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=2)
        @ray.remote
        def chatter(n):
            for i in range(n):
                print("line", i)
            print("to stderr", file=sys.stderr)
            return n
        say(ray.get(chatter.remote(20_000)))
    """)
    code, out, err = driver.end()
    assert code == 0
    assert sum("line" in line for line in out.splitlines()) == 20_000
    assert "to stderr" in err


def test_a_worker_may_close_its_output(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=1)
        @ray.remote
        def close():
            os.close(1)
            os.close(2)
            return "closed"
        @ray.remote
        def after():
            return "after"
        say(ray.get(close.remote(), timeout=20))
        say(ray.get(after.remote(), timeout=20))
    """)
    assert driver.end()[:2] == (0, "closed\nafter\n")


def test_a_child_of_a_worker_does_not_outlive_the_session(drive: Drive) -> None:
    driver = drive("""
        ray.init(num_cpus=1)
        @ray.remote
        def fork():
            subprocess.Popen(["sleep", "60"])
            return "forked"
        say(ray.get(fork.remote(), timeout=20))
    """)
    assert driver.end()[:2] == (0, "forked\n")
    driver.expect_no_family()


def test_a_forked_child_of_the_driver_leaves_the_session_alone(drive: Drive) -> None:
    driver = drive("""
        import multiprocessing
        ray.init(num_cpus=2)
        @ray.remote
        def one():
            return 1
        ref = ray.put(bytes(1_000_000))
        assert ray.get(one.remote()) == 1
        def child():
            assert not ray.is_initialized()
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        assert ray.get(one.remote(), timeout=20) == 1
        assert len(ray.get(ref)) == 1_000_000
        say("fine")
    """)
    code, out, err = driver.end()
    assert (code, out) == (0, "fine\n"), err
    driver.expect_no_family()


def test_a_driver_may_run_from_a_thread(drive: Drive) -> None:
    driver = drive("""
        def main():
            ray.init(num_cpus=2)
            @ray.remote
            def one():
                return 1
            say(ray.get(one.remote()))
            ray.shutdown()
        thread = threading.Thread(target=main)
        thread.start()
        thread.join()
    """)
    assert driver.end()[:2] == (0, "1\n")
    driver.expect_no_family()


def test_a_session_under_a_crash_of_the_interpreter_leaves_nothing(drive: Drive) -> None:
    driver = drive("""
        import ctypes, faulthandler, resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ray.init(num_cpus=2)
        ref = ray.put(bytes(10_000_000))
        ctypes.string_at(0)
    """)
    assert driver.end()[0] == -signal.SIGSEGV
    driver.expect_no_family()
