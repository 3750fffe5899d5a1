"""The suite's tests of what goes wrong: dead workers, retries, restarts."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import heliostat as ray
from heliostat.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    RayActorError,
    WorkerCrashedError,
)
from heliostat.testing._session import Gate, SharedSession, Tally
from heliostat.testing.clock import until


def _kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault() -> None:
    # No core file and no dump of our own making: the test wants only the signal.
    import faulthandler  # noqa: PLC0415 - runs in the worker that is about to die
    import resource  # noqa: PLC0415

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


DEATHS: dict[str, tuple[Callable[[], object], str]] = {
    "sigkill": (_kill_self, r"SIGKILL|signal 9"),
    "_exit": (lambda: os._exit(7), r"\b7\b"),
    "segfault": (_segfault, r"SIGSEGV|signal 11"),
    "abort": (os.abort, r"SIGABRT|signal 6"),
    "sys.exit": (lambda: sys.exit(3), r"\b3\b"),
}


def _read_fatally(tally: Tally) -> str:
    if tally.add() == 1:
        _kill_self()
    return "read"


class FatalToRead:
    """Kills the first process that unpickles it."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __reduce__(self) -> Any:
        return _read_fatally, (self.tally,)


class FatalToWrite:
    """Kills the first process that pickles it."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally

    def __reduce__(self) -> Any:
        if self.tally.add() == 1:
            _kill_self()
        return str, ("written",)


class CrashTests(SharedSession):
    """Workers that die under a task."""

    @pytest.mark.parametrize("death", DEATHS)
    def test_a_dead_worker_without_retries_is_an_error_that_says_how_it_died(
        self, death: str
    ) -> None:
        die, named = DEATHS[death]

        @ray.remote(max_retries=0)
        def task() -> None:
            die()

        with pytest.raises(WorkerCrashedError, match=named):
            ray.get(task.remote(), timeout=30)

    @pytest.mark.parametrize("death", ["sigkill", "_exit"])
    def test_a_dead_worker_is_retried(self, death: str, tmp_path: Path) -> None:
        tally = Tally(tmp_path)
        die, _ = DEATHS[death]

        @ray.remote
        def task(x: int) -> int:
            if tally.add() == 1:
                die()
            return x

        assert ray.get(task.remote(5), timeout=30) == 5
        assert tally.count() == 2

    def test_a_worker_that_dies_while_it_reads_its_arguments_is_replaced(
        self, tmp_path: Path
    ) -> None:
        @ray.remote
        def task(value: Any) -> Any:
            return value

        assert ray.get(task.remote(FatalToRead(Tally(tmp_path))), timeout=30) == "read"

    def test_a_worker_that_dies_while_it_writes_its_result_is_replaced(
        self, tmp_path: Path
    ) -> None:
        tally = Tally(tmp_path)

        @ray.remote
        def task() -> Any:
            return [bytes(500_000), FatalToWrite(tally)]

        assert ray.get(task.remote(), timeout=30) == [bytes(500_000), "written"]
        assert tally.count() == 2

    def test_max_retries_bounds_the_attempts(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_retries=2)
        def task() -> None:
            tally.add()
            _kill_self()

        with pytest.raises(WorkerCrashedError):
            ray.get(task.remote(), timeout=30)
        assert tally.count() == 3

    def test_an_exception_is_not_retried_unless_asked(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote
        def task() -> None:
            tally.add()
            raise ValueError("once")

        with pytest.raises(ValueError, match="once"):
            ray.get(task.remote())
        assert tally.count() == 1

    @pytest.mark.parametrize("kinds", [True, [ValueError], [KeyError, LookupError, ValueError]])
    def test_retry_exceptions_retries_what_it_names(self, kinds: Any, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_retries=3, retry_exceptions=kinds)
        def task() -> str:
            if tally.add() < 3:
                raise ValueError("again")
            return "third"

        assert ray.get(task.remote(), timeout=30) == "third"

    def test_retry_exceptions_does_not_retry_what_it_does_not_name(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_retries=3, retry_exceptions=[KeyError])
        def task() -> None:
            tally.add()
            raise ValueError("other")

        with pytest.raises(ValueError, match="other"):
            ray.get(task.remote())
        assert tally.count() == 1

    def test_others_do_not_notice_a_dead_worker(self) -> None:
        @ray.remote(max_retries=0)
        def die() -> None:
            _kill_self()

        @ray.remote
        def live(x: int) -> int:
            return x

        refs = [live.remote(n) for n in range(20)]
        dead = die.remote()
        refs += [live.remote(n) for n in range(20, 40)]
        assert ray.get(refs, timeout=30) == list(range(40))
        with pytest.raises(WorkerCrashedError):
            ray.get(dead, timeout=30)

    def test_a_stream_whose_worker_dies_ends_with_the_error(self) -> None:
        @ray.remote(max_retries=0)
        def stream() -> Iterator[int]:
            yield 1
            _kill_self()

        items = stream.remote()
        first = next(items)
        assert ray.get(first, timeout=20) == 1
        with pytest.raises(WorkerCrashedError):
            [ray.get(ref, timeout=20) for ref in items]

    def test_a_task_whose_parent_died_is_run_by_the_next_attempt(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote
        def child(x: int) -> int:
            return x + 1

        @ray.remote
        def parent() -> int:
            value = ray.get(child.remote(1))
            if tally.add() == 1:
                _kill_self()
            return value + 1

        assert ray.get(parent.remote(), timeout=30) == 3


def fragile_class() -> Any:
    """A fresh actor class that can die in several ways."""

    @ray.remote
    class Fragile:
        def __init__(self) -> None:
            self.count = 0

        def add(self) -> int:
            self.count += 1
            return self.count

        def pid(self) -> int:
            return os.getpid()

        def die(self) -> None:
            os._exit(5)

        def die_until(self, tally: Tally, times: int) -> str:
            if tally.add() <= times:
                os._exit(5)
            return "survived"

        def wait(self, gate: Gate) -> str:
            gate.wait()
            return "through"

        def leave(self) -> None:
            ray.actor.exit_actor()

        def restarted(self) -> bool:
            return bool(ray.get_runtime_context().was_current_actor_reconstructed)

    return Fragile


class ActorFaultTests(SharedSession):
    """Actors that die, are killed, leave, and come back."""

    def test_a_killed_actor_fails_running_waiting_and_later_calls(self, tmp_path: Path) -> None:
        actor = fragile_class().remote()
        ray.get(actor.add.remote())
        running, waiting = actor.wait.remote(Gate(tmp_path)), actor.add.remote()
        ray.kill(actor)
        for ref in (running, waiting, actor.add.remote()):
            with pytest.raises(ActorDiedError, match=r"kill"):
                ray.get(ref, timeout=20)

    def test_results_got_before_the_death_stay_good(self) -> None:
        actor = fragile_class().remote()
        ref = actor.add.remote()
        ray.wait([ref])
        ray.kill(actor)
        assert ray.get(ref) == 1

    def test_only_actors_can_be_killed(self) -> None:
        with pytest.raises((ValueError, TypeError), match="int"):
            ray.kill(1)
        with pytest.raises((ValueError, TypeError), match="ObjectRef"):
            ray.kill(ray.put(1))

    def test_a_crash_without_restarts_is_the_end(self) -> None:
        actor = fragile_class().remote()
        with pytest.raises(ActorDiedError, match=r"(?s)Fragile.*\b5\b"):
            ray.get(actor.die.remote(), timeout=20)
        with pytest.raises(RayActorError):
            ray.get(actor.add.remote(), timeout=20)

    def test_max_restarts_brings_a_fresh_actor_back(self) -> None:
        actor = fragile_class().options(max_restarts=1).remote()
        assert ray.get([actor.add.remote(), actor.add.remote()]) == [1, 2]
        assert ray.get(actor.restarted.remote()) is False
        with pytest.raises(ActorUnavailableError):
            ray.get(actor.die.remote(), timeout=20)
        assert _first_success(actor.add.remote) == 1
        assert ray.get(actor.restarted.remote()) is True
        with pytest.raises(ActorDiedError):
            ray.get(actor.die.remote(), timeout=20)
        with pytest.raises(ActorDiedError):
            ray.get(actor.add.remote(), timeout=20)

    def test_max_task_retries_runs_the_lost_call_again(self, tmp_path: Path) -> None:
        actor = fragile_class().options(max_restarts=-1, max_task_retries=2).remote()
        assert ray.get(actor.die_until.remote(Tally(tmp_path), 2), timeout=30) == "survived"

    def test_calls_waiting_behind_a_crash_run_after_the_restart(self, tmp_path: Path) -> None:
        actor = fragile_class().options(max_restarts=1, max_task_retries=1).remote()
        ray.get(actor.add.remote())
        lost = actor.die_until.remote(Tally(tmp_path), 1)
        later = [actor.add.remote() for _ in range(3)]
        assert ray.get(lost, timeout=20) == "survived"
        assert ray.get(later, timeout=20) == [1, 2, 3]

    def test_kill_with_restart_uses_a_restart(self) -> None:
        actor = fragile_class().options(max_restarts=1).remote()
        first = ray.get(actor.pid.remote())
        ray.kill(actor, no_restart=False)
        assert _first_success(actor.pid.remote) != first
        ray.kill(actor, no_restart=True)
        with pytest.raises(RayActorError):
            ray.get(actor.pid.remote(), timeout=20)

    def test_exit_actor_ends_it_for_good(self) -> None:
        actor = fragile_class().options(max_restarts=3).remote()
        with pytest.raises(RayActorError):
            ray.get(actor.leave.remote(), timeout=20)
        with pytest.raises(RayActorError):
            ray.get(actor.add.remote(), timeout=20)

    def test_exit_actor_outside_an_actor_is_an_error(self) -> None:
        with pytest.raises((TypeError, RuntimeError), match="actor"):
            ray.actor.exit_actor()

    def test_exit_actor_works_in_async_methods(self) -> None:
        @ray.remote
        class Async:
            async def leave(self) -> None:
                ray.actor.exit_actor()

            async def stay(self) -> int:
                return 1

        actor = Async.remote()
        assert ray.get(actor.stay.remote()) == 1
        with pytest.raises(RayActorError):
            ray.get(actor.leave.remote(), timeout=20)
        with pytest.raises(RayActorError):
            ray.get(actor.stay.remote(), timeout=20)

    def test_a_restarted_named_actor_keeps_its_name(self) -> None:
        actor = fragile_class().options(name="phoenix", max_restarts=1).remote()
        with pytest.raises(RayActorError):
            ray.get(actor.die.remote(), timeout=20)
        assert _first_success(ray.get_actor("phoenix").add.remote) == 1
        ray.kill(actor)

    def test_retry_exceptions_of_a_method_runs_it_again(self, tmp_path: Path) -> None:
        tally = Tally(tmp_path)

        @ray.remote(max_task_retries=3)
        class Flaky:
            @ray.method(retry_exceptions=[ValueError])
            def call(self) -> str:
                if tally.add() < 3:
                    raise ValueError("again")
                return "third"

        assert ray.get(Flaky.remote().call.remote(), timeout=20) == "third"


def _first_success(call: Callable[[], Any]) -> Any:
    """The result of the first call that does not meet an actor that is still restarting."""

    def attempt() -> list[Any]:
        try:
            return [ray.get(call(), timeout=20)]
        except ActorUnavailableError:
            return []

    return until(attempt, "the actor is back")[0]
