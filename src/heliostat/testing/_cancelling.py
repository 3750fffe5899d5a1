"""The suite's tests of cancelling work that runs, waits or has ended."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import heliostat as ray
from heliostat.exceptions import RayError, RayTaskError, TaskCancelledError, WorkerCrashedError
from heliostat.testing._faults import fragile_class
from heliostat.testing._session import Gate, SharedSession, Tally, with_session


class CancelTests(SharedSession):
    """cancel: of what waits, runs, has ended."""

    @with_session(num_cpus=1)
    def test_a_waiting_task_is_cancelled_before_it_runs(self, tmp_path: Path) -> None:
        gate, tally = Gate(tmp_path), Tally(tmp_path)

        @ray.remote
        def hold() -> None:
            gate.wait()

        @ray.remote
        def never() -> None:
            tally.add()

        holding, waiting = hold.remote(), never.remote()
        ray.cancel(waiting)
        with pytest.raises(TaskCancelledError):
            ray.get(waiting, timeout=20)
        gate.open()
        ray.get(holding)
        assert tally.count() == 0

    def test_a_task_that_waits_for_an_argument_is_cancelled(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote
        def late() -> int:
            gate.wait()
            return 1

        @ray.remote
        def use(x: int) -> int:
            return x

        argument = late.remote()
        waiting = use.remote(argument)
        ray.cancel(waiting)
        with pytest.raises(TaskCancelledError):
            ray.get(waiting, timeout=20)
        gate.open()
        assert ray.get(argument) == 1

    def test_a_running_task_is_interrupted(self, tmp_path: Path) -> None:
        started, cleaned = Gate(tmp_path, "started"), Gate(tmp_path, "cleaned")

        @ray.remote
        def spin() -> None:
            try:
                started.open()
                while True:
                    time.sleep(0.005)
            finally:
                cleaned.open()

        ref = spin.remote()
        started.wait()
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=20)
        cleaned.wait()

    def test_force_kills_the_worker_of_a_running_task(self, tmp_path: Path) -> None:
        started = Gate(tmp_path)

        @ray.remote
        def stubborn() -> None:
            started.open()
            while True:
                try:
                    time.sleep(60)
                except BaseException:  # noqa: BLE001 - it does not want to stop
                    continue

        ref = stubborn.remote()
        started.wait()
        ray.cancel(ref, force=True)
        with pytest.raises((WorkerCrashedError, TaskCancelledError)):
            ray.get(ref, timeout=20)

    def test_a_cancelled_task_is_not_retried(self, tmp_path: Path) -> None:
        started, tally = Gate(tmp_path), Tally(tmp_path)

        @ray.remote(max_retries=5, retry_exceptions=True)
        def spin() -> None:
            tally.add()
            started.open()
            while True:
                time.sleep(0.005)

        ref = spin.remote()
        started.wait()
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=20)
        assert tally.count() == 1

    def test_cancelling_what_has_ended_changes_nothing(self) -> None:
        @ray.remote
        def one() -> int:
            return 1

        ref = one.remote()
        assert ray.get(ref) == 1
        ray.cancel(ref)
        assert ray.get(ref) == 1
        ray.cancel(ray.put(2))

    def test_only_references_can_be_cancelled(self) -> None:
        with pytest.raises(TypeError, match="int"):
            ray.cancel(1)

    def test_cancel_reaches_the_children(self, tmp_path: Path) -> None:
        started, cleaned = Gate(tmp_path, "started"), Gate(tmp_path, "cleaned")

        @ray.remote
        def child() -> None:
            try:
                started.open()
                while True:
                    time.sleep(0.005)
            finally:
                cleaned.open()

        @ray.remote
        def parent() -> None:
            ray.get(child.remote())

        ref = parent.remote()
        started.wait()
        ray.cancel(ref, recursive=True)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=20)
        cleaned.wait()

    def test_the_worker_of_a_cancelled_task_serves_on(self, tmp_path: Path) -> None:
        @ray.remote
        def spin(gate: Gate) -> None:
            gate.open()
            while True:
                time.sleep(0.005)

        @ray.remote
        def one() -> int:
            return 1

        for number in range(3):
            gate = Gate(tmp_path, str(number))
            ref = spin.remote(gate)
            gate.wait()
            ray.cancel(ref)
            with pytest.raises(TaskCancelledError):
                ray.get(ref, timeout=20)
            assert ray.get([one.remote() for _ in range(10)], timeout=20) == [1] * 10

    def test_a_call_of_an_async_actor_is_cancelled_in_its_coroutine(self, tmp_path: Path) -> None:
        started, cleaned = Gate(tmp_path, "started"), Gate(tmp_path, "cleaned")

        @ray.remote
        class Sleeper:
            async def sleep(self) -> None:
                try:
                    started.open()
                    await asyncio.sleep(60)
                finally:
                    cleaned.open()

            async def one(self) -> int:
                return 1

        sleeper = Sleeper.remote()
        ref = sleeper.sleep.remote()
        started.wait()
        ray.cancel(ref)
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=20)
        cleaned.wait()
        assert ray.get(sleeper.one.remote()) == 1

    def test_calls_of_an_async_actor_are_cancelled_at_any_moment(self) -> None:
        @ray.remote
        class Sleeper:
            async def sleep(self) -> None:
                await asyncio.sleep(60)

            async def one(self) -> int:
                return 1

        sleeper = Sleeper.remote()
        for round_ in range(10):
            refs = [sleeper.sleep.remote() for _ in range(3)]
            if round_ % 2:
                ray.get(sleeper.one.remote())
            for ref in refs:
                ray.cancel(ref)
            for ref in refs:
                with pytest.raises(TaskCancelledError):
                    ray.get(ref, timeout=5)

    def test_a_call_of_an_async_actor_is_cancelled_before_its_turn(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)

        @ray.remote(max_concurrency=1)
        class OneAtATime:
            async def wait(self) -> None:
                await asyncio.to_thread(gate.wait)

            async def one(self) -> int:
                return 1

        actor = OneAtATime.remote()
        running, waiting, last = actor.wait.remote(), actor.one.remote(), actor.one.remote()
        ray.cancel(waiting)
        with pytest.raises(TaskCancelledError):
            ray.get(waiting, timeout=20)
        gate.open()
        assert ray.get([running, last], timeout=20) == [None, 1]

    def test_an_async_actor_that_cancels_all_that_runs_in_it_serves_on(self) -> None:
        @ray.remote
        class Reckless:
            async def cancel_all(self) -> None:
                for task in asyncio.all_tasks() - self.mine:
                    task.cancel()

            async def begin(self) -> None:
                self.mine = asyncio.all_tasks() - {asyncio.current_task()}

            async def sleep(self) -> None:
                await asyncio.sleep(60)

            async def one(self) -> int:
                return 1

        actor = Reckless.remote()
        ray.get(actor.begin.remote(), timeout=20)
        first, second = actor.sleep.remote(), actor.cancel_all.remote()
        third = actor.sleep.remote()  # cancelled before its first step, or not begun in time
        with pytest.raises(RayTaskError, match="CancelledError"):
            ray.get(first, timeout=20)
        assert ray.get(second, timeout=20) is None
        ray.cancel(third)
        with pytest.raises(RayError):
            ray.get(third, timeout=20)
        assert ray.get(actor.one.remote(), timeout=20) == 1

    def test_a_call_that_waits_at_an_actor_is_cancelled(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)
        actor = fragile_class().remote()
        running = actor.wait.remote(gate)
        waiting = actor.add.remote()
        ray.cancel(waiting)
        with pytest.raises(TaskCancelledError):
            ray.get(waiting, timeout=20)
        gate.open()
        assert ray.get(running, timeout=20) == "through"
        assert ray.get(actor.add.remote()) == 1

    def test_a_call_of_an_actor_cannot_be_cancelled_by_force(self, tmp_path: Path) -> None:
        gate = Gate(tmp_path)
        actor = fragile_class().remote()
        running = actor.wait.remote(gate)
        with pytest.raises(ValueError, match="force"):
            ray.cancel(running, force=True)
        gate.open()
        assert ray.get(running, timeout=20) == "through"

    def test_a_stream_can_be_cancelled(self, tmp_path: Path) -> None:
        @ray.remote
        def endless() -> Iterator[int]:
            n = 0
            while True:
                yield n
                n += 1
                time.sleep(0.002)

        stream = endless.remote()
        assert ray.get(next(stream), timeout=20) == 0
        ray.cancel(stream)
        with pytest.raises(TaskCancelledError):
            [ray.get(ref, timeout=20) for ref in stream]
