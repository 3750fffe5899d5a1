"""Calls from worker to worker: they leave the hub out, and lose and double nothing when one dies."""

# These tests use actors, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload"

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat._core import session
from heliostat.exceptions import OwnerDiedError, RayActorError
from heliostat.testing.clock import until
from heliostat.util import state


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    ray.init(num_cpus=2)
    yield
    ray.shutdown()


def direct() -> Any:
    """The lines of this worker process."""
    return session.current_engine()._port.direct  # type: ignore[attr-defined]


@ray.remote
class Log:
    """Appends what it is told to a file, which tells afterwards what it did."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, number: int) -> int:
        """One number."""
        os.write(self.file, f"{number}\n".encode())
        return number

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def slow(self, seconds: float) -> str:
        """Take a while."""
        time.sleep(seconds)
        return "done"

    def size(self, value: bytes) -> int:
        """How long a value is."""
        return len(value)

    def deaf_soon(self) -> int:
        """Read nothing more from its lines, and stop, when it has answered; its process."""

        def stop() -> None:
            time.sleep(0.2)
            for line in list(direct().lines.values()):
                line.sock.shutdown(socket.SHUT_RD)
            os.kill(os.getpid(), signal.SIGSTOP)

        threading.Thread(target=stop).start()
        return os.getpid()


@ray.remote
class Caller:
    """Calls a Log."""

    def __init__(self, log: Any) -> None:
        self.log = log
        for _ in range(3):
            ray.get(log.pid.remote())
        self.done: list[int] = []

    def pid(self) -> int:
        """Its process."""
        return os.getpid()

    def by_line(self) -> tuple[int, int]:
        """How many of ten calls went by a line, and how many lines there are."""
        lines = list(direct().lines.values())
        before = sum(line.made for line in lines)
        for number in range(10):
            ray.get(self.log.write.remote(number))
        return sum(line.made for line in lines) - before, len(lines)

    def write(self, start: int, count: int, together: int) -> tuple[list[int], list[int]]:
        """Numbers that were written, and numbers of which an error came."""
        good, bad = [], []
        for first in range(start, start + count, together):
            refs = [self.log.write.remote(first + i) for i in range(together)]
            for number, ref in enumerate(refs, first):
                try:
                    assert ray.get(ref) == number
                    good.append(number)
                except RayActorError:
                    bad.append(number)
        return good, bad

    def write_to_the_deaf(self, count: int) -> list[str]:
        """Write numbers by a line that takes nothing any more, and kill who does not read it."""
        pid = ray.get(self.log.deaf_soon.remote())
        (line,) = direct().lines.values()
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        refs = [self.log.write.remote(number) for number in range(count)]
        until(lambda: line.broken)
        refs += [self.log.write.remote(number) for number in range(count, 2 * count)]
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)
        ended = []
        for ref in refs:
            try:
                ended.append(str(ray.get(ref)))
            except RayActorError:
                ended.append("lost")
        return ended

    def send(self, start: int, count: int) -> None:
        """Write numbers, and wait for nothing."""
        for number in range(start, start + count):
            self.log.write.remote(number)

    def many(self, count: int, size: int, busy_s: float) -> int:
        """Call more than a socket holds, do something else, and then look."""
        refs = [self.log.size.remote(bytes(size)) for _ in range(count)]
        end = time.monotonic() + busy_s
        while time.monotonic() < end:
            pass
        return sum(ray.get(refs))

    def gives(self, seconds: float) -> list[Any]:
        """The reference of a call that takes a while."""
        return [self.log.slow.remote(seconds)]

    def passes(self, taker: Any, seconds: float) -> list[Any]:
        """Have a task take the reference of a call that takes a while; the task's reference."""
        return [taker.remote(self.log.slow.remote(seconds))]

    def sleeps(self) -> Any:
        """Wait for a call."""
        return ray.get(self.log.slow.remote(60))


def written(path: Path) -> Counter[int]:
    return Counter(map(int, path.read_text().split()))


def test_calls_after_the_first_two_leave_the_hub_out(tmp_path: Path) -> None:
    caller = Caller.remote(Log.remote(str(tmp_path / "log")))
    assert ray.get(caller.by_line.remote(), timeout=20) == (10, 1)


def test_direct_calls_are_in_the_records(tmp_path: Path) -> None:
    caller = Caller.remote(Log.remote(str(tmp_path / "log")))
    ray.get(caller.by_line.remote(), timeout=20)

    def rows() -> list[Any]:
        return [row for row in state.list_tasks() if row.name == "Log.write"]

    until(lambda: len(rows()) == 10, timeout_s=10)
    (parent,) = [row.task_id for row in state.list_tasks() if row.name == "Caller.by_line"]
    assert {row.parent_task_id for row in rows()} == {parent}
    assert {row.state for row in rows()} == {"FINISHED"}


def test_more_than_a_socket_holds_arrives_while_the_caller_does_something_else(
    tmp_path: Path,
) -> None:
    caller = Caller.remote(Log.remote(str(tmp_path / "log")))
    assert ray.get(caller.many.remote(300, 20_000, 0.3), timeout=30) == 6_000_000


def test_a_caller_that_ends_has_sent_all_its_calls(tmp_path: Path) -> None:
    log = Log.remote(str(tmp_path / "log"))

    @ray.remote
    def send(log: Any) -> None:
        for number in range(500):
            log.write.remote(number)
            if number == 2:
                ray.get(log.pid.remote())

    ray.get(send.remote(log), timeout=20)
    until(lambda: len(written(tmp_path / "log")) == 500, timeout_s=20)
    assert set(written(tmp_path / "log").values()) == {1}


def test_the_result_of_a_caller_that_died_is_an_error_for_others(tmp_path: Path) -> None:
    caller = Caller.remote(Log.remote(str(tmp_path / "log")))
    (ref,) = ray.get(caller.gives.remote(1.0), timeout=20)
    ray.kill(caller)
    with pytest.raises(OwnerDiedError, match=r"Log\.slow"):
        ray.get(ref, timeout=20)


def test_who_waits_for_the_result_of_a_caller_when_that_dies_gets_an_error(tmp_path: Path) -> None:
    log = Log.remote(str(tmp_path / "log"))
    caller = Caller.remote(log)

    @ray.remote(num_cpus=0)
    def waits(refs: list[Any], path: Path) -> Any:
        path.touch()
        return ray.get(refs[0])

    refs = ray.get(caller.gives.remote(2.0), timeout=20)
    waiting = waits.remote(refs, tmp_path / "begun")
    until((tmp_path / "begun").exists, timeout_s=20)
    ray.kill(caller)
    with pytest.raises(OwnerDiedError, match=r"Log\.slow"):
        ray.get(waiting, timeout=20)
    ready, _ = ray.wait(refs, timeout=20)
    assert ready == refs
    assert ray.get(log.write.remote(1), timeout=20) == 1  # the callee takes no harm


def test_a_task_whose_argument_was_to_come_from_a_caller_that_died_gets_an_error(
    tmp_path: Path,
) -> None:
    caller = Caller.remote(Log.remote(str(tmp_path / "log")))

    @ray.remote(num_cpus=0)
    def taker(value: str) -> str:
        return value

    (ref,) = ray.get(caller.passes.remote(taker, 1.0), timeout=20)
    ray.kill(caller)
    with pytest.raises(OwnerDiedError, match=r"Log\.slow"):
        ray.get(ref, timeout=20)


def test_a_result_that_was_there_before_its_caller_died_stays_good(tmp_path: Path) -> None:
    caller = Caller.remote(Log.remote(str(tmp_path / "log")))
    (ref,) = ray.get(caller.gives.remote(0.0), timeout=20)
    ray.wait([ref], timeout=20)
    ray.kill(caller)
    assert ray.get(ref, timeout=20) == "done"


def test_calls_of_an_actor_that_restarts_go_on_directly(tmp_path: Path) -> None:
    log = Log.options(max_restarts=-1, max_task_retries=-1).remote(str(tmp_path / "log"))
    caller = Caller.remote(log)
    for _ in range(3):
        writing = caller.write.remote(0, 300, 10)
        os.kill(ray.get(log.pid.remote(), timeout=20), signal.SIGKILL)
        good, bad = ray.get(writing, timeout=30)
        assert (len(good), bad) == (300, [])
    ray.get(caller.write.remote(0, 20, 1), timeout=20)
    assert ray.get(caller.by_line.remote(), timeout=20) == (10, 1)


@ray.remote
class Late:
    """Has a line to a Log, and uses it for the first time when the Log is dead."""

    def write(self, log: Any) -> int:
        """A number, of a Log that is being killed."""
        pid, _ = (ray.get(log.pid.remote()) for _ in range(2))
        lines = direct()
        until(lambda: bool(lines.lines), "there is a line")
        (line,) = lines.lines.values()
        lines._calling = True  # the hub's news of the death come after the call
        os.kill(pid, signal.SIGKILL)
        until(lambda: lines._read(line) or line.over, "the line has ended")
        return ray.get(log.write.remote(7))


def test_a_first_call_by_the_line_of_a_dead_callee_is_made_again(tmp_path: Path) -> None:
    log = Log.options(max_restarts=1, max_task_retries=1).remote(str(tmp_path / "log"))
    assert ray.get(Late.remote().write.remote(log), timeout=20) == 7
    assert written(tmp_path / "log") == {7: 1}


def test_calls_by_a_line_that_takes_nothing_any_more_are_made_again(tmp_path: Path) -> None:
    log = Log.options(max_restarts=1).remote(str(tmp_path / "log"))
    caller = Caller.remote(log)
    ended = ray.get(caller.write_to_the_deaf.remote(10), timeout=30)
    unsent = ended[ended.index("10") :]
    assert unsent == [str(number) for number in range(10, 20)]
    assert set(written(tmp_path / "log")) == {int(one) for one in ended if one != "lost"}


def kill_soon(pid: int, generator: random.Random) -> None:
    deadline = time.monotonic() + generator.random() * 0.03
    until(lambda: time.monotonic() >= deadline, timeout_s=5)
    os.kill(pid, signal.SIGKILL)


def pid_of(log: Any) -> int:
    """Its process, once the last one that was killed is forgotten."""
    while True:
        try:
            return int(ray.get(log.pid.remote(), timeout=20))
        except RayActorError:
            continue


def kill_the_callee(tmp_path: Path, rounds: int, seed: int) -> None:
    """Whatever the caller was told is what happened."""
    generator = random.Random(seed)
    log = Log.options(max_restarts=-1).remote(str(tmp_path / "log"))
    caller = Caller.remote(log)
    ray.get(caller.pid.remote(), timeout=20)
    good: list[int] = []
    bad: list[int] = []
    for number in range(rounds):
        pid = pid_of(log)
        together = generator.choice([1, 5, 100])
        writing = caller.write.remote(number * 1000, 400, together)
        kill_soon(pid, generator)
        fine, failed = ray.get(writing, timeout=30)
        good += fine
        bad += failed
        assert len(fine) + len(failed) == 400
    times = written(tmp_path / "log")
    assert max(times.values()) == 1
    assert all(times[number] == 1 for number in good)
    assert len(good) > len(bad)


def kill_the_caller(tmp_path: Path, rounds: int, seed: int) -> None:
    """What a caller had sent is done at most once, and in order; the callee takes no harm."""
    generator = random.Random(seed)
    log = Log.remote(str(tmp_path / "log"))
    for number in range(rounds):
        caller = Caller.remote(log)
        pid = ray.get(caller.pid.remote(), timeout=20)
        if generator.random() < 0.5:
            ref = caller.write.remote(number * 1000, 400, generator.choice([1, 100]))
        else:
            ref = caller.send.remote(number * 1000, 400)
        kill_soon(pid, generator)
        with contextlib.suppress(RayActorError):
            ray.get(ref, timeout=20)
    ray.get(log.pid.remote(), timeout=20)
    lines = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert len(lines) == len(set(lines))
    for number in range(rounds):
        mine = [line % 1000 for line in lines if line // 1000 == number]
        assert mine == list(range(len(mine)))


def test_a_killed_callee_loses_and_doubles_no_call(tmp_path: Path) -> None:
    kill_the_callee(tmp_path, rounds=10, seed=1)


def test_a_killed_caller_loses_and_doubles_no_call(tmp_path: Path) -> None:
    kill_the_caller(tmp_path, rounds=10, seed=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_killed_callees_lose_and_double_no_call(tmp_path: Path, seed: int) -> None:
    kill_the_callee(tmp_path, rounds=50, seed=seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_killed_callers_lose_and_double_no_call(tmp_path: Path, seed: int) -> None:
    kill_the_caller(tmp_path, rounds=50, seed=seed)


def test_threads_of_one_caller_call_at_once(tmp_path: Path) -> None:
    @ray.remote
    class Threads:
        def work(self, log: Any) -> int:
            good: list[int] = []

            def call(start: int) -> None:
                numbers = range(start, start + 100)
                good.extend(ray.get(log.write.remote(number)) for number in numbers)

            threads = [threading.Thread(target=call, args=(n * 1000,)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return len(set(good))

    log = Log.remote(str(tmp_path / "log"))
    assert ray.get(Threads.remote().work.remote(log), timeout=30) == 400
    assert len(written(tmp_path / "log")) == 400
